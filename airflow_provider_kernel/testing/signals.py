"""Conditions that threads and coroutines wait on without polling."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType


class _Listener:
    """An event of one event loop that other threads set; several changes cause one wake-up."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.event = asyncio.Event()
        self._loop = loop
        self._pending = False

    def wake(self) -> None:
        if not self._pending:
            self._pending = True
            self._loop.call_soon_threadsafe(self._set)

    def _set(self) -> None:
        self._pending = False
        self.event.set()


class Signal:
    """
    A condition that both threads and coroutines can wait on.

    As a context manager it is the lock of the state that it guards. The lock is re-entrant, and held only
    briefly, so that the event loop may take it too.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._listeners: set[_Listener] = set()

    def __enter__(self) -> Signal:
        """Take the lock."""
        self._condition.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the lock."""
        self._condition.release()

    def notify(self) -> None:
        """Wake all waiters; they check the state again."""
        with self:
            self._condition.notify_all()
            for listener in list(self._listeners):
                try:
                    listener.wake()
                except RuntimeError:  # its event loop was closed
                    self._listeners.discard(listener)

    def wait_until(self, predicate: Callable[[], bool], timeout: float | None) -> bool:
        """
        Block the calling thread until the predicate holds.

        :param predicate: called with the lock held.
        :param timeout: real seconds, or None for no limit.
        :return: whether the predicate holds.
        """
        with self:
            return self._condition.wait_for(predicate, timeout)

    @contextmanager
    def listen(self) -> Iterator[asyncio.Event]:
        """Yield an event of the running event loop that is set at every change."""
        listener = _Listener(asyncio.get_running_loop())
        with self:
            self._listeners.add(listener)
        try:
            yield listener.event
        finally:
            with self:
                self._listeners.discard(listener)

    async def until(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        """
        Wait, in a coroutine, until the predicate holds.

        :param predicate: called with the lock held.
        :param timeout: real seconds, or None for no limit.
        :return: whether the predicate holds.
        """

        async def watch() -> None:
            with self.listen() as changed:
                while True:
                    changed.clear()
                    with self:
                        if predicate():
                            return
                    await changed.wait()

        try:
            await asyncio.wait_for(watch(), timeout)
        except asyncio.TimeoutError:
            with self:
                return predicate()
        return True


class Stop:
    """A request to stop; code can wait for it, or register a callback."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], object]] = []

    def set(self) -> None:
        """Request the stop; only the first call has an effect."""
        with self._lock:
            if self._event.is_set():
                return
            self._event.set()
            # Under the lock, so that a callback is never called after its `calling` block has ended.
            for callback in self._callbacks:
                callback()

    def is_set(self) -> bool:
        """Return whether the stop was requested."""
        return self._event.is_set()

    def wait(self, timeout: float | None) -> bool:
        """
        Wait for the stop.

        :param timeout: real seconds, or None for no limit.
        :return: whether the stop was requested.
        """
        return self._event.wait(timeout)

    @contextmanager
    def calling(self, callback: Callable[[], object]) -> Iterator[None]:
        """Call the callback when the stop is requested while the block runs, or now if it was requested before."""
        with self._lock:
            self._callbacks.append(callback)
            if self._event.is_set():
                callback()
        try:
            yield
        finally:
            with self._lock:
                self._callbacks.remove(callback)
