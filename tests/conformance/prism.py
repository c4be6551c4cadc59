"""Prism: a server of somebody else's that reads Kernel's API description, and judges each request by it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

OPENAPI = Path(__file__).parent / "openapi"
KERNEL = OPENAPI / "kernel-openapi.yaml"
BROWSERS = OPENAPI / "kernel-browsers-openapi.yaml"
PATCH = OPENAPI / "patch-invocation.openapi.yaml"

_NOT_THERE = (
    "These tests need Prism, a mock server in Node.js, and there is none: install it with "
    "`npm install --prefix DIRECTORY '@stoplight/prism-cli@^5.14'` and set PRISM=DIRECTORY/node_modules/.bin/prism"
)
_LISTENING = "Prism is listening on"


def executable() -> str:
    """
    Find Prism.

    :raises AssertionError: when it is not installed; who runs these tests wants to know, and not to skip them.
    """
    found = os.environ.get("PRISM") or shutil.which("prism") or ""
    assert Path(found).is_file(), _NOT_THERE
    return found


class Prism:
    """
    A running Prism.

    :param description: the OpenAPI file.
    """

    def __init__(self, description: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        # No --errors: the official examples break their own format, and the client has to take them as they come.
        self._process = subprocess.Popen(
            [executable(), "mock", str(description), "--host", "127.0.0.1", "--port", str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            env={**os.environ, "NO_COLOR": "1"},
        )
        self._last: deque[str] = deque(maxlen=20)
        self._changed = threading.Condition()
        self._ended = False
        threading.Thread(target=self._read, name="prism-log", daemon=True).start()
        self.base_url = f"http://127.0.0.1:{port}"
        #: Every request, with what is wrong with it, which is to be nothing.
        self.verdicts: list[tuple[str, str]] = []
        #: How many of them were wrong on purpose.
        self.wrong_on_purpose = 0
        self._wait_for(_LISTENING)

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(30)

    def note(self, request: httpx.Request, answer: httpx.Response) -> None:
        """Take note of what it says of a request."""
        if not str(request.url).startswith(f"{self.base_url}/"):
            return
        found = json.loads(answer.headers.get("sl-violations", "[]"))
        complaints = [violation["message"] for violation in found if violation["location"][0] == "request"]
        if answer.headers.get("content-type") == "application/problem+json" and answer.status_code < 500:
            complaints.append("there is no such operation")  # a 500 is a trouble of Prism's own
        self.verdicts.append((f"{request.method} {request.url}", "; ".join(complaints)))

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._last.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _wait_for(self, text: str) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._ended or any(text in line for line in self._last), 60)
            assert any(text in line for line in self._last), "Prism did not start:\n" + "".join(self._last)
