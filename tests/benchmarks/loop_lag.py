"""How late an event loop is: what wants to be called every 10 ms, and when it is called."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable
from dataclasses import dataclass

TICK_SECONDS = 0.01


@dataclass
class Lag:
    """
    By how much the ticks were late, in milliseconds.

    "Own" is the processor time between two ticks without Python's garbage collection, which goes through all that
    Airflow has in memory: a busy machine does not change it.
    """

    worst: float
    worst_own: float
    p99: float

    def __str__(self) -> str:
        return f"worst {self.worst:6.1f} ms ({self.worst_own:5.1f} own), p99 {self.p99:5.1f} ms"


async def measure(work: Awaitable[object]) -> Lag:
    """Tick until the work is done."""
    collected = [0.0]  # seconds in all

    def on_gc(phase: str, info: dict[str, int]) -> None:
        collected[0] += time.thread_time() * (-1 if phase == "start" else 1)

    ticks = []
    task = asyncio.ensure_future(work)
    gc.callbacks.append(on_gc)
    try:
        while not task.done():
            before, own_before = time.perf_counter(), time.thread_time() - collected[0]
            await asyncio.sleep(TICK_SECONDS)
            late = time.perf_counter() - before - TICK_SECONDS
            ticks.append((late * 1000, (time.thread_time() - collected[0] - own_before) * 1000))
    finally:
        gc.callbacks.remove(on_gc)
    await task
    ticks.sort()
    return Lag(ticks[-1][0], max(own for _, own in ticks), ticks[int(len(ticks) * 0.99)][0])
