"""
Groups of log lines, which Airflow's log page can fold.

A group holds the lines of one source and nothing else: any other line of this package closes it first, and the next
line of the source opens it again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

#: How long a line waits for the line of another thread. Both are written in microseconds, but a signal handler may
#: have interrupted what that thread waits for.
_LONGEST_WAIT_SECONDS = 0.5


class WriteMark(Protocol):
    def __call__(self, mark: str, *, has_title: bool = False, end: str = "") -> None: ...


class LogGroup:
    """
    One group of lines.

    :param write: writes a mark to the log, with the title that the log page shows of a folded group.
    """

    def __init__(self, write: WriteMark) -> None:
        self._write = write
        self._is_continued = False

    def begin(self) -> None:
        self._write("::group::", has_title=True, end=" (continued)" if self._is_continued else "")
        self._is_continued = True

    def end(self) -> None:
        self._write("::endgroup::")


class GroupedLog:
    """Knows which group is open in one log. Several threads may write to it."""

    def __init__(self) -> None:
        # A signal handler may interrupt a thread that holds it, and log, too.
        self._lock = threading.RLock()
        self._open: LogGroup | None = None

    @contextmanager
    def lines_of(self, group: LogGroup | None) -> Iterator[None]:
        """
        Write lines within a group in the block, and no other thread's between them.

        :param group: ``None`` for lines that belong to none.
        """
        lock = self._lock
        is_held = lock.acquire(timeout=_LONGEST_WAIT_SECONDS)
        if not is_held:
            self._lock = threading.RLock()  # later lines do not wait for a thread that hangs
        try:
            if self._open is not group:
                if self._open is not None:
                    self._open.end()
                    self._open = None
                if group is not None:
                    group.begin()
                    self._open = group
            yield
        finally:
            if is_held:
                lock.release()

    def end(self, group: LogGroup) -> None:
        """Close a group if it is open."""
        if self._open is group:
            with self.lines_of(None):
                pass


#: The log of a task's process, whatever thread writes to it.
_of_process = GroupedLog()
#: The log of one trigger. A triggerer runs many in one thread, each with a log of its own.
_of_context: ContextVar[GroupedLog | None] = ContextVar("kernel_grouped_log", default=None)


def current_log() -> GroupedLog:
    """Return the log to which a line of the caller goes."""
    return _of_context.get() or _of_process


def use_own_log() -> None:
    """Begin a log for the present context, that of a trigger, and for what it starts from now on."""
    _of_context.set(GroupedLog())


def _forget() -> None:
    global _of_process
    _of_process = GroupedLog()


# A forked child has none of the threads that may hold the lock.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
