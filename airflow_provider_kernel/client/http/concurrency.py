"""Taking turns in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from airflow_provider_kernel.client.errors import KernelTimeoutError


class RequestLimiter:
    """
    So many requests at once, and no more.

    :param count: how many.
    :param seconds: how long one waits for its turn, since those in front may wait for a server that hangs.
    """

    def __init__(self, count: int, seconds: float) -> None:
        self._slots = asyncio.Semaphore(count)
        self._seconds = seconds

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """
        Wait for one's turn, and take it while the block runs.

        :raises KernelTimeoutError: when it does not come.
        """
        turn = asyncio.ensure_future(self._slots.acquire())
        try:
            # Not wait_for(), which may swallow a cancellation before Python 3.12.
            await asyncio.wait({turn}, timeout=self._seconds)
            if not turn.done():
                raise KernelTimeoutError("too many requests are waiting for their answers", sent=False)
            yield
        finally:
            if turn.done():
                self._slots.release()
            else:
                turn.cancel()
