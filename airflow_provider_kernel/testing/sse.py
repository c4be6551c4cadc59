"""Server-sent events: a stream with heartbeats, for any resource."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, Protocol

from starlette.responses import Response

from airflow_provider_kernel.testing.clock import format_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import Receive, Scope, Send

    from airflow_provider_kernel.testing.backend import Backend


class Event(Protocol):
    """One event of a stream."""

    @property
    def final(self) -> bool:
        """Whether the stream ends with it."""

    def json(self) -> dict[str, Any]:
        """Return its data; the field `event` names its kind."""


class Feed(Protocol):
    """The events of one stream, in order."""

    def backlog(self) -> Sequence[Event]:
        """Return the events that a new stream begins with; called once."""

    def new(self) -> Sequence[Event]:
        """Return the events since the last call of either method."""


class EventStream(Response):
    """
    The answer that streams a feed.

    Each event is one ASGI message, so that faults can count events.

    :param backend: its signal is notified of each new event.
    :param feed: the events.
    """

    def __init__(self, backend: Backend, feed: Feed) -> None:
        self.status_code = 200
        self.background = None
        self.body = b""
        self.init_headers(
            {
                "content-type": "text/event-stream; charset=utf-8",
                "cache-control": "no-cache",
                "x-sse-content-type": "application/json",
            }
        )
        del self.headers["content-length"]
        self._backend = backend
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the final event, or until the client disconnects."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await self._stream(send, gone)
        finally:
            gone.cancel()

    async def _stream(self, send: Send, gone: asyncio.Task[None]) -> None:
        with self._backend.signal.listen() as changed:
            events = self._feed.backlog()
            silent_since = time.monotonic()
            while True:
                for event in events:
                    if gone.done():
                        return
                    await _send_event(send, event.json())
                    silent_since = time.monotonic()
                if any(event.final for event in events):
                    break
                if not events:
                    woken = await self._wait(changed, gone, silent_since)
                    if gone.done():
                        return
                    if not woken:
                        now = format_time(self._backend.clock.now())
                        await _send_event(send, {"event": "sse_heartbeat", "timestamp": now})
                        silent_since = time.monotonic()
                changed.clear()
                events = self._feed.new()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _wait(self, changed: asyncio.Event, gone: asyncio.Task[None], silent_since: float) -> bool:
        """Wait for any change, or for the client to disconnect; return False if a heartbeat is due first."""
        interval = self._backend.switches.heartbeat_seconds
        # Counted from this stream's last event: changes of other objects must not delay the heartbeat.
        left = None if interval is None else max(0.0, silent_since + interval - time.monotonic())
        change = asyncio.create_task(changed.wait())
        try:
            done, _ = await asyncio.wait({change, gone}, timeout=left, return_when="FIRST_COMPLETED")
        finally:
            change.cancel()
        return bool(done)


async def _send_event(send: Send, data: dict[str, Any]) -> None:
    text = f"event: {data['event']}\ndata: {json.dumps(data)}\n\n"
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
    await asyncio.sleep(0)  # send() may not yield, and an endless feed would block the event loop


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
