"""
The two idioms that are safe in a signal handler: an event, and a worker thread.

``on_kill`` runs in a signal handler, on top of whatever the main thread was doing. It must take no lock that the
interrupted code may hold: not the logger's, not the HTTP client's pool, not that of Airflow's calls. A
``threading.Event``, a ``queue.Queue`` and a ``Future`` take such a lock themselves. ``queue.SimpleQueue`` does not:
it is the one primitive that Python documents as reentrant ("a ``put()`` or ``get()`` call can be interrupted by
another ``put()`` call in the same thread without deadlocking"). Both classes are built on it alone.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class SignalSafeEvent:
    """A flag to wait for. Every method may be called in a signal handler, also one that interrupts :meth:`wait`."""

    def __init__(self) -> None:
        self._flag = False
        self._wake_ups: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """Set the flag, and wake up every waiting thread."""
        self._flag = True
        self._wake_ups.put(None)

    def clear(self) -> None:
        self._flag = False
        while True:
            try:
                self._wake_ups.get_nowait()
            except Empty:
                return

    def is_set(self) -> bool:
        return self._flag

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the flag is set, and return whether it was in time. ``None`` waits without limit."""
        if self._flag:
            return True
        try:
            self._wake_ups.get(timeout=timeout)
        except Empty:
            return self._flag
        # One wake-up for one waiting thread: hand it on to the next one.
        self._wake_ups.put(None)
        return True


class Work(Generic[T]):
    """One piece of work of a :class:`WorkerThread`. Its result may be awaited, or ignored."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._done = SignalSafeEvent()
        self._outcome: list[T] = []
        self._error: BaseException | None = None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of the work, whether it succeeds or fails, and return whether it ended in time."""
        return self._done.wait(timeout)

    def result(self, timeout: float | None = None) -> T:
        """Wait for the work, and return its result or raise its error. After a ``TimeoutError`` it goes on."""
        if not self.wait(timeout):
            raise TimeoutError("The work has not ended in time")
        if self._error is not None:
            raise self._error
        return self._outcome[0]

    def run(self) -> None:
        try:
            self._outcome.append(self._function())
        except BaseException as error:  # noqa: BLE001 (result() raises it)
            self._error = error
        self._done.set()


class WorkerThread:
    """
    A daemon thread that does what it is given, in order.

    The thread starts at once: to start one takes locks, which a signal handler must not.
    """

    def __init__(self, name: str) -> None:
        self._pid = os.getpid()
        self._is_closed = False
        self._has_ended = SignalSafeEvent()
        self._queue: SimpleQueue[Work[object] | None] = SimpleQueue()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    @property
    def is_of_another_process(self) -> bool:
        """Whether this process was forked from the one that has the thread."""
        return self._pid != os.getpid()

    def submit(self, function: Callable[[], T]) -> Work[T]:
        """
        Add work behind what was submitted before. May be called in a signal handler.

        :raises RuntimeError: when the thread was closed, or in a forked child, which has no such thread.
        """
        if self._is_closed:
            raise RuntimeError("The worker thread was closed")
        if self.is_of_another_process:
            raise RuntimeError("The worker thread is one of another process, from which this one was forked")
        work = Work(function)
        self._queue.put(work)  # type: ignore[arg-type]
        return work

    def drain(self, timeout: float | None = None) -> bool:
        """Wait until everything that was submitted so far has ended, and return whether it did in time."""
        if self._is_closed:
            return self._has_ended.wait(timeout)
        return self.submit(lambda: None).wait(timeout)

    def close(self) -> None:
        """End the thread once it has done what was submitted. Waits for nothing; may be called more than once."""
        self._is_closed = True
        self._queue.put(None)

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            work.run()
            del work  # the thread must not keep a result alive while it waits
        self._has_ended.set()
