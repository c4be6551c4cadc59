"""
How much 1,000 waiting triggers hold up the event loop of a triggerer.

    uv run python tests/benchmarks/triggers.py

Beside them runs a ticker that wants to be called every 10 ms; what it is late by is the lag of the loop. The plain
loop has 1,000 coroutines that only sleep. "own" is the processor time between two ticks without Python's garbage
collection, which goes through all that Airflow has in memory: a busy machine does not change it. The emulator has a
process of its own. Numbers of one run on one machine.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

TICK_SECONDS = 0.01
#: The invocations, fewer than the triggers since each is a thread of the emulator, and how far apart they end.
INVOCATIONS = 50
APART_SECONDS = 0.1
KEY = "sk-benchmark"


def serve(pipe: Connection) -> None:
    """Be Kernel: end the invocation whose id comes, or answer how many requests there were since the last time."""
    from airflow_provider_kernel.testing import KernelEmulator

    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    with KernelEmulator(KEY) as kernel:
        pipe.send(kernel.base_url)
        while (order := pipe.recv()) != "stop":
            if order == "count":
                asked = [r.path.endswith("/events") for r in kernel.requests("GET", "**")]
                kernel.reset()
                pipe.send((asked.count(False), asked.count(True)))
            else:
                kernel.finish(order)


@dataclass
class Lag:
    """By how much the ticks were late, in milliseconds."""

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


async def sleepers(count: int, seconds: float, poll_interval: float) -> None:
    """Wait as the triggers do, and ask nobody."""
    from airflow_provider_kernel.api.polling import poll_delays

    until = time.monotonic() + seconds

    async def poll() -> None:
        for delay in poll_delays(poll_interval):
            if time.monotonic() >= until:
                return
            await asyncio.sleep(delay)

    await asyncio.gather(*(poll() for _ in range(count)))


async def triggers(
    count: int,
    seconds: float,
    poll_interval: float,
    invocation_ids: list[str],
    finish: Callable[[str], None],
    *,
    logs: bool,
) -> None:
    """Wait for invocations that end after so many seconds, one after the other."""
    from airflow_provider_kernel.triggers.invocation import KernelInvocationTrigger

    async def run(invocation_id: str) -> None:
        trigger = KernelInvocationTrigger(
            invocation_id=invocation_id, poll_interval=poll_interval, stream_logs=logs
        )
        (event,) = [event async for event in trigger.run()]
        if event.payload["status"] != "finished":
            raise RuntimeError(event.payload)

    for number, invocation_id in enumerate(invocation_ids):
        asyncio.get_running_loop().call_later(seconds + number * APART_SECONDS, finish, invocation_id)
    running = []
    for number in range(count):
        running.append(asyncio.create_task(run(invocation_ids[number % len(invocation_ids)])))
        await asyncio.sleep(0)  # as Airflow does between two triggers
    await asyncio.gather(*running)


def main() -> None:
    """Run all three, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--poll-interval", type=float, default=5.0)
    options = parser.parse_args()
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-kernel-benchmark-")
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"

    from airflow_provider_kernel.api import requests
    from airflow_provider_kernel.api.client import KernelClient
    from airflow_provider_kernel.api.config import KernelConfig
    from airflow_provider_kernel.triggers.invocation import KernelInvocationTrigger

    KernelInvocationTrigger._log = logging.getLogger("quiet")
    KernelInvocationTrigger._log.setLevel(logging.CRITICAL)

    here, there = multiprocessing.get_context("spawn").Pipe()
    kernel = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    kernel.start()
    url = here.recv()
    os.environ["AIRFLOW_CONN_KERNEL_DEFAULT"] = f'{{"conn_type": "kernel", "host": "{url}", "password": "{KEY}"}}'
    count, seconds, interval = options.count, options.seconds, options.poll_interval
    print(f"{count:,} waits of {seconds:g} s, a look every {interval:g} s")
    plain = asyncio.run(measure(sleepers(count, seconds, interval)))
    print(f"{'plain asyncio.sleep':>20}:  {plain}")
    seconds_in_all = seconds + (INVOCATIONS - 1) * APART_SECONDS
    for label, count_now, logs in (("first one", 1, True), ("triggers", count, False), ("with logs", count, True)):
        with KernelClient(KernelConfig(KEY, url)) as client:
            ids = [client.send(requests.create_invocation("demo", "hang")).id for _ in range(INVOCATIONS)]
        wait = seconds
        if count_now == 1:  # what only the first trigger of a process pays: imports, and the certificates
            ids, wait = ids[:1], 1.0
        began = time.monotonic()
        lag = asyncio.run(measure(triggers(count_now, wait, interval, ids, here.send, logs=logs)))
        took = time.monotonic() - began
        here.send("count")
        looks, streams = here.recv()
        late = took - (wait if count_now == 1 else seconds_in_all)
        print(
            f"{label:>20}:  {lag}, {lag.worst / plain.worst:.0f} and {lag.p99 / plain.p99:.0f} x plain; "
            f"{looks:,} looks, {streams:,} streams; over {late:.1f} s after the last end"
        )
    here.send("stop")
    kernel.join()


if __name__ == "__main__":
    sys.exit(main())
