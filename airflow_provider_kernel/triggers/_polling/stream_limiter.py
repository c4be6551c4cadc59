"""Limit the open log streams of a triggerer: each takes a connection, and with it a file descriptor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any
from weakref import WeakKeyDictionary

from airflow_provider_kernel._compat import conf

#: ``[kernel] max_streams``, unless the configuration says otherwise.
DEFAULT_MAX_STREAMS = 250
#: Max streams at once of invocations that ended without a slot.
_LATE_STREAMS = 25


class StreamLimiter:
    """Give ``count`` slots, in the order in which they are requested."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._slots = asyncio.Semaphore(count)
        self._late_slots = asyncio.Semaphore(_LATE_STREAMS)

    def is_full(self) -> bool:
        return self._slots.locked()

    @asynccontextmanager
    async def slot(self, ended: asyncio.Future[Any]) -> AsyncIterator[None]:
        """Wait for a slot, and hold it while the block runs. Once ``ended`` is done, a late slot will do."""
        slot: asyncio.Future[Any] = asyncio.create_task(self._slots.acquire())
        try:
            await asyncio.wait({slot, ended}, return_when=asyncio.FIRST_COMPLETED)
            async with nullcontext() if slot.done() else self._late_slots:
                yield
        finally:
            # False if it is done already.
            if not slot.cancel():
                self._slots.release()


_limiters: WeakKeyDictionary[asyncio.AbstractEventLoop, StreamLimiter] = WeakKeyDictionary()


def stream_limiter() -> StreamLimiter:
    """Return the running loop's limiter."""
    loop = asyncio.get_running_loop()
    if loop not in _limiters:
        count = conf.getint("kernel", "max_streams", fallback=DEFAULT_MAX_STREAMS)
        _limiters[loop] = StreamLimiter(max(0, count))
    return _limiters[loop]
