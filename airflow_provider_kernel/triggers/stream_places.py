"""How many log streams a triggerer has open at once: each takes a connection, and with it a file descriptor."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from airflow_provider_kernel._compat import conf

#: ``[kernel] max_streams``, unless the configuration says otherwise.
DEFAULT_MAX_STREAMS = 250
#: How many invocations that have ended without a place have their lines read at once.
_LATE_STREAMS = 25


class StreamPlaces:
    """
    So many places, given in the order in which they are asked for.

    :param count: how many.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = count
        self._queue: deque[asyncio.Future[bool]] = deque()
        self._late = asyncio.Semaphore(_LATE_STREAMS)

    def is_full(self) -> bool:
        """Whether whoever asks now has to wait."""
        return self._free == 0

    def queue(self) -> asyncio.Future[bool]:
        """
        Ask for a place.

        :return: what becomes true when there is one. Set to false, it is given up: who reads a stream to its end
            that has come already takes a late place, of which there are always some.
        """
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if self._free:
            self._free -= 1
            future.set_result(True)
        else:
            self._queue.append(future)
        return future

    @asynccontextmanager
    async def place(self, asked: asyncio.Future[bool]) -> AsyncIterator[None]:
        """
        Wait for a place, and hold it while the block runs.

        :param asked: what :meth:`queue` has given.
        """
        try:
            if await asked:
                yield
            else:
                async with self._late:
                    yield
        finally:
            if asked.done() and not asked.cancelled() and asked.result():
                self._give_back()

    def _give_back(self) -> None:
        while self._queue:
            asked = self._queue.popleft()
            if not asked.done():
                asked.set_result(True)
                return
        self._free += 1


# By loop: a triggerer has one, a test has many.
_places: WeakKeyDictionary[asyncio.AbstractEventLoop, StreamPlaces] = WeakKeyDictionary()


def stream_places() -> StreamPlaces:
    """Give the running loop's places."""
    loop = asyncio.get_running_loop()
    places = _places.get(loop)
    if places is None:
        count = conf.getint("kernel", "max_streams", fallback=DEFAULT_MAX_STREAMS)
        places = _places[loop] = StreamPlaces(max(0, count))
    return places
