"""
One deadline for the whole of an exchange: sending the request, the head of the answer, and its body.

The transport's own timeouts are for each read and write; a server that sends a byte now and then never hits them.
In an event loop the exchange is cancelled at the deadline (:meth:`Deadline.cancel_after`). A thread cannot be
cancelled, so there the timeout of each read and write is cut to the time that is left (:func:`within`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import anyio

from airflow_provider_kernel.client.errors import KernelConnectionError, KernelTimeoutError

#: A large request is written in parts, and the clock is checked between them.
_WRITE_BYTES = 64 * 1024


class Deadline:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    @classmethod
    def of_exchange(cls, connect_timeout: float, read_timeout: float) -> Deadline:
        """Begin the time of an exchange: to connect, to wait for the answer, and to read it."""
        return cls(connect_timeout + 2 * read_timeout)

    def at_most(self, seconds: float) -> Deadline:
        """Return a deadline in so many seconds, or this one, whichever is sooner."""
        sooner = Deadline(seconds)
        return sooner if sooner._end < self._end else self

    def left(self, timeout: float | None = None) -> float:
        """Return the seconds that are left, at most ``timeout``; raise when the time is over."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise self._error()
        return left if timeout is None else min(left, timeout)

    @contextmanager
    def cancel_after(self) -> Iterator[None]:
        """Cancel the block at the deadline, in an event loop."""
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
    """Apply a deadline to the reads and writes of this thread while the block runs."""
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


def _clip(timeout: float | None) -> float | None:
    deadline = _deadline.get()
    return timeout if deadline is None else deadline.left(timeout)


def _check() -> None:
    # A read that the deadline cut short ends in the transport's timeout, which does not name the deadline.
    _clip(None)


def _check_process(pid: int) -> None:
    # A stream that was being read when the process was forked: both would take parts of it.
    if pid != os.getpid():
        raise KernelConnectionError("the connection is that of another process, from which this one was forked")


def trace(event: str, info: dict[str, Any]) -> None:
    """
    Apply deadlines to a new connection, and keep forked processes from it.

    httpcore calls this, as its ``trace`` extension.
    """
    if event.endswith(("connect_tcp.complete", "start_tls.complete")):
        _keep(info["return_value"])


def _keep(stream: Any) -> None:
    read, write, pid = stream.read, stream.write, os.getpid()

    def read_in_time(max_bytes: int, timeout: float | None = None) -> bytes:
        _check_process(pid)
        try:
            data: bytes = read(max_bytes, timeout=_clip(timeout))
        except Exception:
            _check()
            raise
        return data

    def write_in_time(data: bytes, timeout: float | None = None) -> None:
        _check_process(pid)
        for start in range(0, len(data), _WRITE_BYTES):
            write(data[start : start + _WRITE_BYTES], timeout=_clip(timeout))

    stream.read, stream.write = read_in_time, write_in_time
