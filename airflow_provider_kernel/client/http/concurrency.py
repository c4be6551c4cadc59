"""A bound on the concurrent requests of one asynchronous client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from airflow_provider_kernel.client.errors import KernelTimeoutError

#: Max concurrent requests per client, streams excluded: httpcore's pool is quadratic in queued requests.
MAX_CONCURRENT_REQUESTS = 25


class RequestLimiter:
    """
    Bounds how many requests are sent at the same time.

    :param seconds: how long to wait for a slot; the requests that hold one may wait for a server that hangs.
    """

    def __init__(self, seconds: float) -> None:
        self._limiter = anyio.CapacityLimiter(MAX_CONCURRENT_REQUESTS)
        self._seconds = seconds

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot while the block runs."""
        try:
            with anyio.fail_after(self._seconds):
                await self._limiter.acquire()
        except TimeoutError:
            raise KernelTimeoutError("too many requests are waiting for their answers", sent=False) from None
        try:
            yield
        finally:
            self._limiter.release()
