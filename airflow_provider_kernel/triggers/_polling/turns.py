"""
Let many triggers begin in small batches.

A triggerer that starts takes up all its triggers at once. Each reads its connection and opens a log stream, which
takes the event loop about a millisecond. A thousand at once would block it, and with it all other triggers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

#: How many turns may be held at once, and begin in one round of the event loop.
MAX_TURNS = 10
#: A turn that takes longer, in seconds, waits for something, and stops no other one: a secrets backend may hang.
MAX_TURN_SECONDS = 0.1


class Turns:
    """Give turns of one event loop, in the order in which they are requested."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._held: set[asyncio.Future[None]] = set()
        self._is_due = False

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and hold it while the block runs."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        self._wake(loop)
        timer: asyncio.TimerHandle | None = None
        try:
            await turn
            timer = loop.call_later(MAX_TURN_SECONDS, self._end, turn)
            yield
        finally:
            if timer is not None:
                timer.cancel()
            self._end(turn)

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._is_due and self._waiting and len(self._held) < MAX_TURNS:
            self._is_due = True
            loop.call_soon(self._give)

    def _give(self) -> None:
        self._is_due = False
        while self._waiting and len(self._held) < MAX_TURNS:
            turn = self._waiting.popleft()
            if not turn.done():  # not cancelled meanwhile
                self._held.add(turn)
                turn.set_result(None)

    def _end(self, turn: asyncio.Future[None]) -> None:
        self._held.discard(turn)
        self._wake(turn.get_loop())


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()


def turns() -> Turns:
    """Return the running loop's turns."""
    loop = asyncio.get_running_loop()
    if loop not in _turns:
        _turns[loop] = Turns()
    return _turns[loop]
