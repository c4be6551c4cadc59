"""Blocking work of endpoints, each in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def in_thread(function: Callable[[], T], name: str) -> T:
    """
    Call a blocking function in a daemon thread, and return its result.

    A caller that is cancelled does not end it. Python's own pool has few threads, and scripts run for minutes.

    :param name: of the thread.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def hand_over(setter: Callable[[Any], None], value: Any) -> None:
        def hand() -> None:
            if not future.done():
                setter(value)

        try:
            loop.call_soon_threadsafe(hand)
        except RuntimeError:  # the emulator was stopped: nobody waits
            return

    def run() -> None:
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 - the caller gets it
            hand_over(future.set_exception, error)
        else:
            hand_over(future.set_result, result)

    threading.Thread(target=run, name=f"kernel-emulator-{name}", daemon=True).start()
    return await future
