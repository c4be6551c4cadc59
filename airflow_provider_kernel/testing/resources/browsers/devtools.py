"""A few calls of the DevTools protocol that the emulator makes itself."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Mapping
from typing import Any

from websockets.sync.client import connect

_SECONDS = 30.0


class DevToolsError(Exception):
    """Chromium has refused a call."""


def screenshot(address: str, region: Mapping[str, Any] | None) -> bytes:
    """
    Return a picture of the first page, a PNG.

    :param address: where DevTools listen.
    :param region: `x`, `y`, `width` and `height` in pixels; None for all of it.
    """
    with connect(address, max_size=None, compression=None) as connection:
        numbers = itertools.count(1)

        def call(method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
            number = next(numbers)
            target = {} if session is None else {"sessionId": session}
            connection.send(json.dumps({"id": number, "method": method, "params": parameters, **target}))
            while True:
                answer: dict[str, Any] = json.loads(connection.recv(timeout=_SECONDS))
                if answer.get("id") == number:
                    if "error" in answer:
                        raise DevToolsError(f"{method}: {answer['error'].get('message')}")
                    return dict(answer["result"])

        pages = [each for each in call("Target.getTargets")["targetInfos"] if each["type"] == "page"]
        target = pages[0]["targetId"] if pages else call("Target.createTarget", url="about:blank")["targetId"]
        session = call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        clip = {} if region is None else {"clip": {**region, "scale": 1}}
        picture = call("Page.captureScreenshot", session, format="png", **clip)["data"]
    return base64.b64decode(picture)
