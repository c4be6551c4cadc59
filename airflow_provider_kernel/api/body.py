"""The body of an answer, bounded in size and in time."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, Iterable

from airflow_provider_kernel.api.config import KernelConfig
from airflow_provider_kernel.api.errors import KernelResponseError, KernelTimeoutError

#: No answer of the API comes near this; a larger one is refused before it fills the memory.
MAX_RESPONSE_BYTES = 64 * 1024 * 1024


class BoundedBody:
    """
    Collect a body, and give up on one that is endless in size or in time.

    :param config: its timeouts say how long the whole answer may take, from now on.
    """

    def __init__(self, config: KernelConfig) -> None:
        self._chunks: list[bytes] = []
        self._size = 0
        self._seconds = config.connect_timeout + 2 * config.read_timeout
        self._deadline = time.monotonic() + self._seconds

    def collect(self, chunks: Iterable[bytes]) -> bytes:
        """
        Collect it.

        :param chunks: its parts as they come.
        :return: all of it.
        :raises KernelResponseError: when it is too large.
        :raises KernelTimeoutError: when it takes too long.
        """
        for chunk in chunks:
            self._feed(chunk)
        return b"".join(self._chunks)

    async def acollect(self, chunks: AsyncIterable[bytes]) -> bytes:
        """
        Do what :meth:`collect` does, in an event loop.

        :param chunks: its parts as they come.
        :return: all of it.
        """
        async for chunk in chunks:
            self._feed(chunk)
        return b"".join(self._chunks)

    def _feed(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > MAX_RESPONSE_BYTES:
            raise KernelResponseError(f"the body is larger than {MAX_RESPONSE_BYTES // 2**20} MiB")
        if time.monotonic() > self._deadline:
            raise KernelTimeoutError(f"the answer was not complete after {self._seconds:g} s")
        self._chunks.append(chunk)
