"""Following an invocation over server-sent events."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from airflow_provider_kernel.testing.state import Happening
from airflow_provider_kernel.testing.times import format_time

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from airflow_provider_kernel.testing.state import Run, Store
    from airflow_provider_kernel.testing.times import Clock


class EventStream(Response):
    """
    The event stream of one run: its state, its logs as they come, heartbeats, and its end.

    Each event is one ASGI message, so that faults can count events.

    :param store: where runs are kept.
    :param clock: the platform's clock.
    :param run: the run to follow.
    :param since: nanoseconds from which to replay log lines, or None when the client did not ask.
    """

    def __init__(self, store: Store, clock: Clock, run: Run, since: int | None) -> None:
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
        self._store = store
        self._clock = clock
        self._run = run
        self._since = since

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the run ends or the client goes."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await self._stream(send, gone)
        finally:
            gone.cancel()

    async def _stream(self, send: Send, gone: asyncio.Task[None]) -> None:
        with self._store.signal.listen() as changed:
            with self._store.signal:
                position = len(self._run.happenings)
                backlog = self._backlog()
            for happening in backlog:
                if gone.done():
                    return
                await _send_event(send, happening.json())
            finished = _is_end(backlog)
            silent_since = time.monotonic()
            while not finished and not gone.done():
                changed.clear()
                with self._store.signal:
                    new = self._run.happenings[position:]
                position += len(new)
                for happening in new:
                    if gone.done():
                        return
                    await _send_event(send, happening.json())
                    finished = finished or _is_end([happening])
                if new:
                    silent_since = time.monotonic()
                elif not await self._wait(changed, gone, silent_since):
                    await _send_event(send, {"event": "sse_heartbeat", "timestamp": format_time(self._clock.now())})
                    silent_since = time.monotonic()
        if finished:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _wait(self, changed: asyncio.Event, gone: asyncio.Task[None], silent_since: float) -> bool:
        """Wait for a change of any run, or for the client to go; tell whether it came before a heartbeat is due."""
        interval = self._store.switches.heartbeat_seconds
        # From the last event of this stream: changes of other runs must not put the heartbeat off.
        left = None if interval is None else max(0.0, silent_since + interval - time.monotonic())
        change = asyncio.create_task(changed.wait())
        try:
            done, _ = await asyncio.wait({change, gone}, timeout=left, return_when="FIRST_COMPLETED")
        finally:
            change.cancel()
        return bool(done)

    def _backlog(self) -> list[Happening]:
        """Return what a new stream begins with: the state, and old log lines; a final state comes last."""
        everything = self._since is None and self._store.switches.logs_without_since == "all"
        lines = [
            happening
            for happening in self._run.happenings
            if happening.message is not None
            and (everything or (self._since is not None and self._store.since(happening.at, self._since)))
        ]
        state = Happening(self._clock.now(), invocation=self._run.json())
        return [*lines, state] if self._run.finished else [state, *lines]


def _is_end(happenings: list[Happening]) -> bool:
    return any(h.invocation is not None and h.invocation["finished_at"] is not None for h in happenings)


async def _send_event(send: Send, data: dict[str, Any]) -> None:
    text = f"event: {data['event']}\ndata: {json.dumps(data)}\n\n"
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
    await asyncio.sleep(0)  # sending alone may not give way, and an action that never tires would block all


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
