"""
One deadline for the whole of an exchange: sending the request, the head of the answer, and its body.

The transport's own time-outs are for each read and write, which a server that sends a byte now and then never
runs into. In an event loop the exchange is cancelled at the deadline (:meth:`Deadline.cancel_after`). A thread
cannot be cancelled, so there each stream of the transport asks how long its next read or write may take
(:func:`within`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import anyio

from airflow_provider_kernel.client.errors import KernelTimeoutError

#: A large request is written in parts, and the clock is checked between them.
_WRITE_BYTES = 64 * 1024


class Deadline:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    @classmethod
    def of_exchange(cls, connect_timeout: float, read_timeout: float) -> Deadline:
        """Begin the time that an exchange may take: to connect, to wait for the answer, and to read it."""
        return cls(connect_timeout + 2 * read_timeout)

    def left(self, timeout: float | None = None) -> float:
        """Give the seconds that the next step may take, ``timeout`` at the most; raise when the time is over."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise self._error()
        return left if timeout is None else min(left, timeout)

    @contextmanager
    def cancel_after(self) -> Iterator[None]:
        """Keep it in this task of an event loop."""
        try:
            with anyio.fail_after(self.left()):
                yield
        except TimeoutError:
            raise self._error() from None

    def _error(self) -> KernelTimeoutError:
        return KernelTimeoutError(f"the answer was not complete after {self._seconds:g} s")


_deadline: ContextVar[Deadline | None] = ContextVar("kernel_client_deadline", default=None)


@contextmanager
def within(deadline: Deadline) -> Iterator[None]:
    """Keep a deadline in this thread."""
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


def _clip(timeout: float | None) -> float | None:
    deadline = _deadline.get()
    return timeout if deadline is None else deadline.left(timeout)


def _check() -> None:
    # A step that was cut short by the deadline ends in a time-out of the transport's, which does not say so.
    _clip(None)


def trace(event: str, info: dict[str, Any]) -> None:
    """Have a new connection keep deadlines: the transport's ``trace`` extension."""
    if event.endswith(("connect_tcp.complete", "start_tls.complete")):
        _keep(info["return_value"])


def _keep(stream: Any) -> None:
    read, write = stream.read, stream.write

    def read_in_time(max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            data: bytes = read(max_bytes, timeout=_clip(timeout))
        except Exception:
            _check()
            raise
        return data

    def write_in_time(data: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(data), _WRITE_BYTES):
            write(data[start : start + _WRITE_BYTES], timeout=_clip(timeout))

    stream.read, stream.write = read_in_time, write_in_time
