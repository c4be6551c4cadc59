"""
The far side of the benchmark ``wait``: thousands of invocations whose states follow from the clock.

The emulator has a thread for each run and is made for being right; this answers only what a wait asks, and cheaply
enough to be asked a thousand times a second. It runs in a process of its own.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import time
from collections import Counter
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import parse_qsl, urlsplit

_STARTED = "2026-01-01T00:00:{:09.6f}Z"
_HEARTBEAT_SECONDS = 15.0
_SMALL_PAYLOAD = '{"order": 17}'


def lengths(count: int, shortest: float, longest: float) -> list[float]:
    """Say how long each run takes, in seconds: the same for everybody who is measured."""
    rng = random.Random(20260101)  # noqa: S311 (the same for all, not secret)
    return [rng.uniform(shortest, longest) for _ in range(count)]


def run_id(number: int) -> str:
    """Name a run."""
    return f"run{number:021d}"


class ManyRuns:
    """The runs, and what was asked about them."""

    def __init__(self) -> None:
        self.began = float("inf")
        self.lengths: list[float] = []
        self.payload = _SMALL_PAYLOAD
        self.gzipped = False
        self.asked: Counter[str] = Counter()
        self.streamed: set[int] = set()

    def begin(self, run_lengths: list[float], payload: str = _SMALL_PAYLOAD, gzipped: bool = False) -> float:
        """Start them all, and say when."""
        self.lengths, self.asked, self.streamed = run_lengths, Counter(), set()
        self.payload, self.gzipped = payload, gzipped
        self.began = time.monotonic()
        return self.began

    def row(self, number: int) -> dict[str, Any]:
        """Describe a run as it stands."""
        is_over = time.monotonic() >= self.began + self.lengths[number]
        row = {
            "id": run_id(number),
            "app_name": "shop",
            "action_name": "buy",
            "version": "latest",
            "status": "succeeded" if is_over else "running",
            "started_at": _STARTED.format(number / 1000),
            "payload": self.payload,
        }
        return {**row, "finished_at": _STARTED.format(59), "output": '{"bought": true}'} if is_over else row

    def page(self, query: dict[str, str]) -> tuple[list[dict[str, Any]], dict[str, str]]:
        """Answer a question for a list."""
        now = time.monotonic() - self.began
        wanted = query.get("status")
        newest_first = range(len(self.lengths) - 1, -1, -1)
        if wanted == "running":
            numbers = [n for n in newest_first if self.lengths[n] > now]
        elif wanted == "queued":
            numbers = []
        else:
            since = query.get("since", "")
            numbers = [n for n in newest_first if _STARTED.format(n / 1000) >= since]
        offset, limit = int(query.get("offset", 0)), int(query.get("limit", 20))
        after = offset + limit
        has_more = after < len(numbers)
        headers = {
            "X-Has-More": str(has_more).lower(),
            "X-Next-Offset": str(after if has_more else 0),
        }
        return [self.row(n) for n in numbers[offset:after]], headers

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer what comes over a connection."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                target = head.split(b" ", 2)[1].decode()
                url = urlsplit(target)
                parts = url.path.strip("/").split("/")
                if len(parts) == 3:
                    self.asked["streams"] += 1
                    await self._stream(int(parts[1].removeprefix("run")), writer)
                    return
                headers: dict[str, str] = {}
                body: Any
                if len(parts) == 2:
                    self.asked["looks"] += 1
                    body = self.row(int(parts[1].removeprefix("run")))
                else:
                    query = dict(parse_qsl(url.query))
                    self.asked["pages by status" if "status" in query else "pages of all"] += 1
                    body, headers = self.page(query)
                content = json.dumps(body).encode()
                if self.gzipped:
                    content, headers = gzip.compress(content, 1), {**headers, "Content-Encoding": "gzip"}
                lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
                writer.write(
                    f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n"
                    f"{''.join(lines)}\r\n".encode()
                    + content
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass  # the client has gone, or it is all over
        finally:
            writer.close()

    async def _stream(self, number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        end = self.began + self.lengths[number]
        if end > time.monotonic():
            self.streamed.add(number)
        while (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(left, _HEARTBEAT_SECONDS))
            writer.write(b'data: {"event": "sse_heartbeat"}\n\n')
            await writer.drain()
        event = {"event": "invocation_state", "invocation": self.row(number)}
        writer.write(f"data: {json.dumps(event)}\n\n".encode())
        await writer.drain()


def serve(pipe: Connection) -> None:
    """Serve in a process of its own: send the port, then carry out ``(order, argument)`` until it is ``stop``."""
    asyncio.run(_serve(pipe))


async def _serve(pipe: Connection) -> None:
    runs = ManyRuns()
    server = await asyncio.start_server(runs.serve, "127.0.0.1", 0, backlog=1000)
    pipe.send(server.sockets[0].getsockname()[1])
    while True:
        order, argument = await asyncio.to_thread(pipe.recv)
        if order == "begin":
            pipe.send(runs.begin(*argument))
        elif order == "asked":
            pipe.send((dict(runs.asked), sorted(runs.streamed)))
        else:
            return
