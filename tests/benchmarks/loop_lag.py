"""
How late the triggerer's event loop is when many triggers begin at once, and when all their invocations end at once.

    uv run python tests/benchmarks/loop_lag.py [--only 1000x60]

Each case is ``{triggers}x{KB of each payload}``, with log streams or compressed answers where it says so. It has a
process of its own, and Kernel another one. The benchmark fails when the event loop's thread works for longer than
100 ms at a time.

"Worst" is what a clock shows. Beside that work it holds what has Python's interpreter lock meanwhile: the garbage
collection of all that Airflow has in memory (0.1 to 0.3 s), and a thread that parses a large page.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from multiprocessing.connection import Connection

import many_runs
from goals import Goals

TICK_SECONDS = 0.01
#: Own time at once, in milliseconds.
LIMIT = 100.0
#: How many triggers, KB of each payload, and what is special.
CASES = ((1000, 0, ""), (1000, 0, "logs"), (1000, 60, ""), (150, 500, ""), (150, 500, "gzip"))
#: How long the invocations run, in seconds; and how often they are looked at.
RUN_SECONDS, INTERVAL = 8.0, 2.0
_SPAWN = multiprocessing.get_context("spawn")


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
    thread = threading.get_ident()

    def on_gc(phase: str, info: dict[str, int]) -> None:
        if threading.get_ident() == thread:  # what another thread collects is no time of this one
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


def payload_of(kilobytes: int) -> str:
    """Make a payload as programs send it: JSON with as many quotes as text."""
    rows = [{"sku": f"A-{n:06d}", "name": "garden chair", "price": n} for n in range(kilobytes * 1024 // 56)]
    return json.dumps({"order": 17, "rows": rows})


def wait_in_this_process(pipe: Connection, port: int, count: int, logs: bool) -> None:
    """Wait for all runs, and send back how late the loop was."""
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-kernel-benchmark-")
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"
    os.environ["AIRFLOW__KERNEL__MIN_DEFERRAL"] = "0"
    connection = {"conn_type": "kernel", "host": f"http://127.0.0.1:{port}", "password": "sk-benchmark"}
    os.environ["AIRFLOW_CONN_KERNEL_DEFAULT"] = json.dumps(connection)
    pipe.send(asyncio.run(_wait(pipe, count, logs)))


async def _wait(pipe: Connection, count: int, logs: bool) -> tuple[Lag, Lag]:
    from airflow_provider_kernel.triggers.invocation import KernelInvocationTrigger

    KernelInvocationTrigger._log = logging.getLogger("quiet")
    KernelInvocationTrigger._log.setLevel(logging.CRITICAL)

    async def one(number: int) -> None:
        trigger = KernelInvocationTrigger(
            invocation_id=many_runs.run_id(number),
            poll_interval=INTERVAL,
            stream_logs=logs,
            max_carried_bytes=16_384,
        )
        async for event in trigger.run():
            if event.payload["status"] != "finished":
                raise RuntimeError(event.payload)

    await one(count)  # imports and certificates, which only the first one pays
    gc.collect()
    pipe.send("ready")
    ends = await asyncio.to_thread(pipe.recv)
    running = []

    async def begin() -> None:
        running.extend(asyncio.create_task(one(number)) for number in range(count))
        await asyncio.sleep(ends - time.monotonic())

    began = await measure(begin())
    ended = await measure(asyncio.gather(*running))
    return began, ended


def run(count: int, kilobytes: int, special: str) -> tuple[Lag, Lag]:
    """Measure one case, with the far side in another process."""
    far, far_end = _SPAWN.Pipe()
    near, near_end = _SPAWN.Pipe()
    kernel = _SPAWN.Process(target=many_runs.serve, args=(far_end,), daemon=True)
    kernel.start()
    waiting = _SPAWN.Process(
        target=wait_in_this_process, args=(near_end, far.recv(), count, special == "logs"), daemon=True
    )
    waiting.start()
    lengths = [RUN_SECONDS] * count + [0.0]  # the last one is for warming up
    order = (lengths, payload_of(kilobytes), special == "gzip")
    try:
        far.send(("begin", order))
        far.recv()
        if near.recv() != "ready":
            raise RuntimeError("the waiting process did not get ready")
        far.send(("begin", order))
        near.send(far.recv() + RUN_SECONDS)
        lags: tuple[Lag, Lag] = near.recv()
    finally:
        far.send(("stop", None))
        waiting.join(10)
        kernel.join(10)
    return lags


def main() -> None:
    """Measure all cases, and tell which goals were missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--only", help="a part of the case's name")
    options = parser.parse_args()
    goals = Goals()
    for count, kilobytes, special in CASES:
        name = f"{count}x{kilobytes} {special}".strip()
        if options.only and options.only not in name:
            continue
        began, ended = run(count, kilobytes, special)
        print(f"{name}: begin {began}; end {ended}", flush=True)
        goals.at_most(f"{name}: own ms at the begin", began.worst_own, LIMIT)
        goals.at_most(f"{name}: own ms at the end", ended.worst_own, LIMIT)
    sys.exit(goals.tell())


if __name__ == "__main__":
    main()
