"""A browser of the emulator, and requests to its machine."""

import base64

import httpx


class EmulatedBrowser:
    """
    A browser that ends with the block.

    :param options: fields of the create request.
    """

    def __init__(self, kernel, **options):
        headers = {"Authorization": f"Bearer {kernel.api_key}"}
        self._client = httpx.Client(base_url=kernel.base_url, headers=headers, timeout=60)
        created = self._client.post("/browsers", json={"headless": True, **options}).json()
        self.session_id = created["session_id"]
        self.cdp_url = created["cdp_ws_url"]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._client.close()

    def get(self, path, /, **params):
        return self._client.get(f"/browsers/{self.session_id}/{path}", params=params)

    def post(self, path, /, **arguments):
        return self._client.post(f"/browsers/{self.session_id}/{path}", **arguments)

    def delete(self):
        return self._client.delete(f"/browsers/{self.session_id}")

    @staticmethod
    def base64(data):
        return base64.b64encode(data).decode()
