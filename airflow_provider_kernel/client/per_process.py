"""
What each process has for itself.

A forked child has a copy of all objects of its parent. Both would share a connection, and each could read the
answer to the other's request. A lock that another thread held stays held for ever, and no thread but one is left.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """
    A value that each process makes for itself, when it is first asked for.

    What a parent has made stays as it is in the child: it is not closed there, which the parent could notice.

    :param make: makes the value. Threads that ask at the same time may all call it; all get the same value.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values: dict[int, T] = {}

    def get(self) -> T:
        pid = os.getpid()
        try:
            return self._values[pid]
        except KeyError:
            # Without a lock, which another thread might hold while the process is forked.
            return self._values.setdefault(pid, self._make())

    @property
    def made(self) -> T | None:
        """The value, if this process has asked for it."""
        return self._values.get(os.getpid())
