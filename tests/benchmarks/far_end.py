"""
A server that costs next to nothing, so that what is measured is the client.

The emulator knows what Kernel does and takes longer for it than a client does; this one has one answer for all
requests. It is the hardest far side for a ratio: whatever a real API takes would be added to both sides of it.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

INVOCATION_ID = "rr33xuugxj9h0bkf1rdt2bet"
#: The answer to a PATCH, as large as the API's own example.
_BODY = json.dumps(
    {
        "id": INVOCATION_ID,
        "app_name": "my-app",
        "action_name": "analyze",
        "version": "1.0.0",
        "status": "succeeded",
        "status_reason": "Invocation completed successfully",
        "started_at": "2024-05-19T15:30:00.000000000Z",
        "finished_at": "2024-05-19T15:31:00.000000000Z",
        "payload": '{"url": "https://example.com"}',
        "output": '{"answer": 42}',
    }
).encode()
_ANSWER = (
    b"HTTP/1.1 200 OK\r\nDate: Sun, 19 May 2024 15:31:00 GMT\r\nContent-Type: application/json\r\n"
    b"X-Request-Id: 7b1c4e0e\r\nContent-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)


class _Counts:
    connections = 0
    requests = 0


class _Protocol(asyncio.Protocol):
    def __init__(self, counts: _Counts) -> None:
        self._counts = counts
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._counts.connections += 1

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end].lower()
            _, has_body, rest = head.partition(b"\r\ncontent-length: ")
            size = int(rest.partition(b"\r\n")[0]) if has_body else 0
            if len(self._data) < end + 4 + size:
                return
            self._data = self._data[end + 4 + size :]
            self._counts.requests += 1
            self._transport.write(_ANSWER)


def _serve(pipe: Connection) -> None:
    async def serve() -> None:
        counts = _Counts()
        server = await asyncio.get_running_loop().create_server(lambda: _Protocol(counts), "127.0.0.1", 0)
        pipe.send(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        while await asyncio.to_thread(pipe.recv) != "stop":
            pipe.send((counts.connections, counts.requests))
            counts.connections = counts.requests = 0

    asyncio.run(serve())


@dataclass
class FarEnd:
    """
    The server, as seen from here.

    :param url: its base URL.
    :param pipe: the way to ask it.
    """

    url: str
    pipe: Connection

    def counts(self) -> tuple[int, int]:
        """Tell the connections and the requests since the last time."""
        self.pipe.send("count")
        connections, requests = self.pipe.recv()
        return connections, requests


@contextmanager
def far_end() -> Iterator[FarEnd]:
    """Run the server in a process of its own."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there,), daemon=True)
    process.start()
    try:
        yield FarEnd(here.recv(), here)
    finally:
        here.send("stop")
        process.join()
