"""The journal: every request, in order."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from airflow_provider_kernel.testing.path_globs import method_matches, method_of, path_matches
from airflow_provider_kernel.testing.signals import Signal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass(frozen=True)
class RecordedRequest:
    """
    A request that the emulator received.

    :param number: its number, from 1.
    :param method: HTTP method.
    :param path: decoded path, without the query.
    :param query: query parameters; without the value of `jwt`.
    :param headers: headers by lower-case name; of `authorization` only the scheme.
    :param body: the raw body.
    :param received_at: `time.monotonic()` when the whole request was received.
    :param status: the status of the answer; None without an answer, or before it.
    """

    number: int
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    body: bytes
    received_at: float
    status: int | None = None

    @property
    def json(self) -> Any:
        """The body, parsed; None if it is empty."""
        return json.loads(self.body) if self.body else None

    def __str__(self) -> str:
        """Return a summary in one line."""
        query = "&".join(f"{name}={value}" for name, value in self.query.items())
        body = self.body[:200].decode(errors="replace")
        parts = [f"#{self.number}", self.method, self.path + (f"?{query}" if query else "")]
        return " ".join([*parts, *([body] if body else []), "->", str(self.status or "no answer")])


class Journal:
    """All requests since the start or the last reset."""

    def __init__(self) -> None:
        self.signal = Signal()
        self._requests: list[RecordedRequest] = []
        self._round = 0

    def add(self, scope: Scope, body: bytes) -> tuple[int, int]:
        """
        Record a request.

        :return: a handle for `record_status`.
        """
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            if name == "authorization":
                value = value.partition(" ")[0] if " " in value else "[redacted]"
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        if "jwt" in query:
            query["jwt"] = "[redacted]"
        with self.signal:
            number = len(self._requests) + 1
            self._requests.append(
                RecordedRequest(number, method_of(scope), scope["path"], query, headers, body, time.monotonic())
            )
            self.signal.notify()
            return self._round, number

    def record_status(self, handle: tuple[int, int], status: int) -> None:
        """
        Record the status of an answer.

        :param handle: the return value of `add`.
        """
        with self.signal:
            number = handle[1]
            if handle[0] == self._round:  # else the request was removed by a reset
                self._requests[number - 1] = replace(self._requests[number - 1], status=status)
                self.signal.notify()

    def requests(self, method: str | None = None, path: str | None = None) -> tuple[RecordedRequest, ...]:
        """
        Return the requests that match.

        :param method: only this method.
        :param path: only paths that match this glob.
        """
        with self.signal:
            return tuple(
                request
                for request in self._requests
                if method_matches(method, request.method) and path_matches(path, request.path)
            )

    def wait_for(
        self, method: str | None, path: str | None, count: int, timeout: float
    ) -> tuple[RecordedRequest, ...]:
        """
        Wait until `count` matching requests were received.

        :param method: only this method.
        :param path: only paths that match this glob.
        :param timeout: real seconds.
        :return: all matching requests.
        :raises AssertionError: with the journal, after the timeout.
        """
        if self.signal.wait_until(lambda: len(self.requests(method, path)) >= count, timeout):
            return self.requests(method, path)
        received = len(self.requests(method, path))
        lines = "\n".join(f"  {request}" for request in self.requests()) or "  (nothing)"
        raise AssertionError(
            f"waited {timeout:g} s for {count} x {method or '*'} {path or '*'}, received {received}; "
            f"all requests:\n{lines}"
        )

    def clear(self) -> None:
        """Remove all requests."""
        with self.signal:
            self._requests.clear()
            self._round += 1
            self.signal.notify()


class JournalMiddleware:
    """
    Records requests; the outermost layer.

    :param app: the wrapped application.
    """

    def __init__(self, app: ASGIApp, journal: Journal) -> None:
        self._app = app
        self._journal = journal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the request, record it, pass it on; of a websocket, record the handshake."""
        if scope["type"] == "websocket":
            await self._app(scope, receive, self._recording_handshake(scope, send))
            return
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        handle = self._journal.add(scope, body)
        replayed = False

        async def receive_again() -> Message:
            nonlocal replayed
            if replayed:
                return await receive()
            replayed = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send_and_record(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._journal.record_status(handle, message["status"])
            await send(message)

        await self._app(scope, receive_again, send_and_record)

    def _recording_handshake(self, scope: Scope, send: Send) -> Send:
        handle = self._journal.add(scope, b"")
        statuses = {"websocket.accept": 101, "websocket.close": 403}
        is_answered = False

        async def send_and_record(message: Message) -> None:
            nonlocal is_answered
            if not is_answered:
                is_answered = True
                self._journal.record_status(handle, message.get("status", statuses.get(message["type"], 0)))
            await send(message)

        return send_and_record
