"""Follow an invocation's log in an event loop, for a task that waits in the triggerer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio

from airflow_provider_kernel.client.client import AsyncKernelClient
from airflow_provider_kernel.client.resources.invocations.events import EventFollower
from airflow_provider_kernel.client.safe_logger import side_information
from airflow_provider_kernel.task_log.writer import NOT_SHOWN, InvocationLog
from airflow_provider_kernel.triggers._polling import stream_limiter, turns


class AsyncLogStream:
    """
    Follows an invocation's stream while the block runs. If the block succeeds, the last lines are drained.

    A triggerer's concurrent streams are limited. Without a free slot, a stream starts when another one ends, or at
    the end of the block: Kernel replays the lines, so none is lost.

    :param is_new: whether the invocation was started just now; the stream may then be "not found" at first.
    :param on_end: called when the stream reports the invocation's end, so that the waiter can poll at once.
    """

    def __init__(
        self,
        client: AsyncKernelClient,
        invocation_id: str,
        *,
        log: InvocationLog,
        is_new: bool,
        on_end: Callable[[], None],
    ) -> None:
        self._client = client
        self._follower = EventFollower(invocation_id, is_new=is_new)
        self._log = log
        self._on_end = on_end
        #: Whether the stream has to wait for a slot, so that it does not report the end yet.
        self.is_delayed = False

    async def __aenter__(self) -> AsyncLogStream:
        with side_information(NOT_SHOWN, self._log.logger):  # such as a max_streams that is no number
            limiter = stream_limiter()
            if limiter.is_full():
                self.is_delayed = True
                self._log.announce_delay(
                    f"[kernel] max_streams allows {limiter.count} streams at once, and all are in use"
                )
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._ended.set_result(None)
                # The last lines wait for no long pause between two connections, neither this one nor a later one.
                self._follower.keep_pauses_short()
                self._wake.set()
                for seconds in self._log.drain(self._task.done):
                    await asyncio.wait({self._task}, timeout=seconds)
        finally:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _follow(self) -> None:
        try:
            with side_information(NOT_SHOWN, self._log.logger):
                try:
                    async with stream_limiter().slot(self._ended):
                        async with turns().turn():
                            pass
                        async for news in self._client.follow(self._follower, sleep=self._pause):
                            self._log.write(news)
                finally:
                    self._log.end(self._follower.problem)
        finally:
            if self._follower.is_final:
                self._on_end()

    async def _pause(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self._wake.wait()
        self._wake.clear()
