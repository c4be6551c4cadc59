"""Kernel's official SDK, with its blocking and its asynchronous client behind one face."""

from __future__ import annotations

import asyncio
import ssl

import kernel as sdk

#: Spares every client the loading of the certificates, which takes longer than most tests.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class SyncSdk:
    """The blocking client; it refuses what does not fit its own models."""

    def __init__(self, emulator, **options):
        http = sdk.DefaultHttpxClient(verify=NO_TLS)
        self._client = sdk.Kernel(http_client=http, **options_of(emulator, options))

    def __call__(self, path, /, *args, **kwargs):
        """Call a method such as ``"invocations.create"``."""
        return method(self._client, path)(*args, **kwargs)

    def all(self, path, /, *args, **kwargs):
        """Read a list, with all its pages, or a stream."""
        return list(self(path, *args, **kwargs))

    def content(self, path, /, *args, **kwargs):
        """Read what is no JSON."""
        return self(path, *args, **kwargs).read()

    def close(self):
        self._client.close()


class AsyncSdk:
    """The asynchronous client, behind the same face."""

    def __init__(self, emulator, **options):
        self._loop = asyncio.new_event_loop()
        http = sdk.DefaultAsyncHttpxClient(verify=NO_TLS)
        self._client = sdk.AsyncKernel(http_client=http, **options_of(emulator, options))

    def __call__(self, path, /, *args, **kwargs):
        async def call():
            return await method(self._client, path)(*args, **kwargs)

        return self._loop.run_until_complete(call())

    def all(self, path, /, *args, **kwargs):
        async def read():
            found = method(self._client, path)(*args, **kwargs)
            if asyncio.iscoroutine(found):
                found = await found
            return [item async for item in found]

        return self._loop.run_until_complete(read())

    def content(self, path, /, *args, **kwargs):
        async def read():
            return await (await method(self._client, path)(*args, **kwargs)).read()

        return self._loop.run_until_complete(read())

    def close(self):
        self._loop.run_until_complete(self._client.close())
        self._loop.close()


def options_of(emulator, options):
    # Strict: it takes an answer as it comes otherwise.
    defaults = {"api_key": emulator.api_key, "base_url": emulator.base_url, "max_retries": 0, "timeout": 20}
    return {**defaults, "_strict_response_validation": True, **options}


def method(client, path):
    for name in path.split("."):
        client = getattr(client, name)
    return client
