"""A few calls of the DevTools protocol that the emulator makes itself."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from websockets.sync.client import ClientConnection, connect

_SECONDS = 30.0
#: The fields of a cookie that Chromium both returns and accepts.
_COOKIE = ("name", "value", "domain", "path", "secure", "httpOnly", "sameSite", "expires", "priority")


class DevToolsError(Exception):
    """Chromium has refused a call."""


class _Connection:
    """A connection that makes one call after the other."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        target = {} if session is None else {"sessionId": session}
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters, **target}))
        while True:
            answer: dict[str, Any] = json.loads(self._connection.recv(timeout=_SECONDS))
            if answer.get("id") == number:
                if "error" in answer:
                    raise DevToolsError(f"{method}: {answer['error'].get('message')}")
                return dict(answer["result"])


@contextmanager
def _connected(address: str) -> Iterator[_Connection]:
    with connect(address, max_size=None, compression=None) as connection:
        yield _Connection(connection)


def screenshot(address: str, region: Mapping[str, Any] | None) -> bytes:
    """
    Return a picture of the first page, a PNG.

    :param address: where DevTools listen.
    :param region: `x`, `y`, `width` and `height` in pixels; None for all of it.
    """
    with _connected(address) as browser:
        pages = [each for each in browser.call("Target.getTargets")["targetInfos"] if each["type"] == "page"]
        target = (
            pages[0]["targetId"] if pages else browser.call("Target.createTarget", url="about:blank")["targetId"]
        )
        session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        clip = {} if region is None else {"clip": {**region, "scale": 1}}
        picture = browser.call("Page.captureScreenshot", session, format="png", **clip)["data"]
    return base64.b64decode(picture)


def cookies_at_the_end(address: str) -> list[dict[str, Any]]:
    """Close the browser, and return the cookies that it had."""
    with _connected(address) as browser:
        cookies: list[dict[str, Any]] = browser.call("Storage.getCookies")["cookies"]
        browser.call("Browser.close")
    return cookies


def set_cookies(address: str, cookies: list[dict[str, Any]]) -> None:
    """Set the cookies that `cookies_at_the_end` returned and that have not expired."""
    with _connected(address) as browser:
        # Of a cookie for the session it says that it expires at -1.
        kept = [{key: value for key, value in each.items() if (key, value) != ("expires", -1)} for each in cookies]
        browser.call(
            "Storage.setCookies", cookies=[{k: v for k, v in each.items() if k in _COOKIE} for each in kept]
        )
