"""
What it costs to wait for many invocations, beside a trigger that asks for each by itself.

    uv run python tests/benchmarks/wait.py [--sizes 100,1000,5000] [--speed 5]

Three ways to wait for the same runs, which take 1 to 10 minutes, in time that passes ``--speed`` times as fast (at
5, the interval of 10 s becomes 2 s): "one by one", a trigger with a GET an interval, all with one client, which is
more than most providers do; "shared", this provider's trigger; and "with logs", the same with its log streams, of
which 250 are open at once. Each has a process of its own, and Kernel another one. The benchmark fails when a run is
not told exactly once, or a goal is missed.

* requests: to Kernel, for each run and for each interval;
* late: from the end of a run to the trigger's event; the floor is half an interval where it is polled for;
* CPU: of the waiting process from the first trigger to the last event;
* KB: by how much its memory grew for each wait;
* lag: how late its event loop was.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import many_runs
from loop_lag import Lag, measure

KEY = "sk-benchmark"
WAYS = ("one by one", "shared", "with logs")
#: In seconds of real time.
SHORTEST, LONGEST, INTERVAL = 60.0, 600.0, 10.0
_SPAWN = multiprocessing.get_context("spawn")


@dataclass
class Measured:
    """What one way came to."""

    late: dict[int, float]
    cpu: float
    kilobytes: float
    lag: Lag
    told: int


def wait_in_this_process(pipe: Connection, way: str, count: int, interval: float) -> None:
    """Wait for all runs in the given way, and send back what it took."""
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-kernel-benchmark-")
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"
    os.environ["AIRFLOW__KERNEL__MIN_DEFERRAL"] = str(interval)  # by default, both are 10 s
    port = pipe.recv()
    url = f"http://127.0.0.1:{port}"
    os.environ["AIRFLOW_CONN_KERNEL_DEFAULT"] = json.dumps({"conn_type": "kernel", "host": url, "password": KEY})
    make = one_by_one(url) if way == "one by one" else ours(logs=way == "with logs")
    pipe.send(asyncio.run(_wait(pipe, make, count, interval)))


def ours(*, logs: bool) -> Callable[[str, float], Any]:
    """Make this provider's triggers."""
    from airflow_provider_kernel.triggers.invocation import KernelInvocationTrigger

    KernelInvocationTrigger._log = logging.getLogger("quiet")
    KernelInvocationTrigger._log.setLevel(logging.CRITICAL)
    return lambda invocation_id, interval: KernelInvocationTrigger(
        invocation_id=invocation_id, poll_interval=interval, stream_logs=logs, max_carried_bytes=16_384
    )


def one_by_one(url: str) -> Callable[[str, float], Any]:
    """Make triggers as one would write them: look, sleep, look again."""
    import httpx
    from airflow.triggers.base import BaseTrigger, TriggerEvent

    clients: list[httpx.AsyncClient] = []

    class OneByOne(BaseTrigger):
        def __init__(self, invocation_id: str, interval: float) -> None:
            super().__init__()
            self.invocation_id = invocation_id
            self.interval = interval

        def serialize(self) -> tuple[str, dict[str, Any]]:
            return "", {}

        async def run(self) -> AsyncIterator[TriggerEvent]:
            if not clients:  # in the loop that uses it
                limits = httpx.Limits(max_connections=25)
                headers = {"Authorization": f"Bearer {KEY}"}
                clients.append(httpx.AsyncClient(base_url=url, limits=limits, headers=headers, timeout=600))
            while True:
                answer = await clients[0].get(f"/invocations/{self.invocation_id}")
                answer.raise_for_status()
                if answer.json()["status"] in ("succeeded", "failed"):
                    yield TriggerEvent({"status": "finished"})
                    return
                await asyncio.sleep(self.interval)

    return OneByOne


async def _wait(pipe: Connection, make: Callable[[str, float], Any], count: int, interval: float) -> Measured:
    import psutil

    ends: list[float] = []
    late: dict[int, float] = {}
    told = 0

    async def one(number: int) -> None:
        nonlocal told
        async for event in make(many_runs.run_id(number), interval).run():
            if event.payload["status"] != "finished":
                raise RuntimeError(event.payload)
            told += 1
            late[number] = time.monotonic() - ends[number]

    async def all_of_them() -> float:
        running = []
        for number in range(count):
            running.append(asyncio.create_task(one(number)))
            await asyncio.sleep(0)  # as Airflow does between two triggers
        await asyncio.sleep(interval)  # each has looked and waits
        grown = psutil.Process().memory_info().rss - before
        await asyncio.gather(*running)
        return grown / 1024 / count

    warm_up = make(many_runs.run_id(count), interval)  # imports and certificates, which only the first one pays
    _ = [event async for event in warm_up.run()]
    gc.collect()
    before = psutil.Process().memory_info().rss
    pipe.send("ready")
    ends.extend(await asyncio.to_thread(pipe.recv))
    cpu_before = time.process_time()
    grown: list[float] = []

    async def work() -> None:
        grown.append(await all_of_them())

    lag = await measure(work())
    return Measured(late, time.process_time() - cpu_before, grown[0], lag, told)


def run(way: str, count: int, speed: float) -> tuple[Measured, dict[str, int], set[int]]:
    """Measure one way, with the far side in another process."""
    interval = INTERVAL / speed
    far, far_end = _SPAWN.Pipe()
    near, near_end = _SPAWN.Pipe()
    kernel = _SPAWN.Process(target=many_runs.serve, args=(far_end,), daemon=True)
    waiting = _SPAWN.Process(target=wait_in_this_process, args=(near_end, way, count, interval), daemon=True)
    kernel.start()
    waiting.start()
    try:
        near.send(far.recv())
        takes = many_runs.lengths(count, SHORTEST / speed, LONGEST / speed)
        far.send(("begin", ([*takes, 0.0],)))  # the last one is for warming up
        far.recv()
        if near.recv() != "ready":
            raise RuntimeError(f"{way}: the waiting process did not get ready")
        far.send(("begin", ([*takes, 0.0],)))
        began = far.recv()
        near.send([began + length for length in takes])
        measured: Measured = near.recv()
        far.send(("asked", None))
        asked, streamed = far.recv()
    finally:
        far.send(("stop", None))
        waiting.join(10)
        kernel.join(10)
    if sorted(measured.late) != list(range(count)) or measured.told != count:
        sys.exit(f"{way}: {measured.told} events for {len(measured.late)} of {count} runs; each is to be told once")
    if min(measured.late.values()) < 0:
        sys.exit(f"{way}: a run was told as finished before its end")
    return measured, asked, set(streamed)


def quantiles(values: list[float]) -> str:
    """Give the median and the 99th percentile."""
    if len(values) < 2:
        return "-"
    return f"{statistics.median(values):.2f} / {statistics.quantiles(values, n=100)[98]:.2f} s"


def main() -> None:
    """Measure, print the table, and tell which goals were missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--sizes", default="100,1000,5000")
    parser.add_argument("--speed", type=float, default=5.0)
    parser.add_argument("--ways", default=",".join(WAYS))
    options = parser.parse_args()
    sizes, ways = [int(size) for size in options.sizes.split(",")], options.ways.split(",")
    interval = INTERVAL / options.speed
    print(f"Runs of {SHORTEST / options.speed:g} to {LONGEST / options.speed:g} s, a look every {interval:g} s\n")
    print("| n | way | requests a run | an interval | late p50 / p99 | CPU | of one by one | KB a wait | lag |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    missed = []
    requests_a_run: dict[int, float] = {}
    for count in sizes:
        naive_cpu = None
        for way in ways:
            measured, asked, streamed = run(way, count, options.speed)
            total = sum(asked.values())
            intervals = LONGEST / INTERVAL
            if way == "one by one":
                naive_cpu = measured.cpu
            share = f"{measured.cpu / naive_cpu:.2f} x" if naive_cpu else ""
            late_polled = [late for number, late in measured.late.items() if number not in streamed]
            late_streamed = [late for number, late in measured.late.items() if number in streamed]
            late = quantiles(late_polled) + (f"; streamed {quantiles(late_streamed)}" if streamed else "")
            cells = (
                f"{count:,}",
                way,
                f"{total / count:.2f}",
                f"{total / intervals:.0f}",
                late,
                f"{measured.cpu:.1f} s",
                share,
                f"{measured.kilobytes:.1f}",
                str(measured.lag),
            )
            print("|", " | ".join(cells), "|", flush=True)
            print(f"    {asked}", file=sys.stderr)
            if way == "one by one":
                continue
            goals = {"no loop lag over 100 ms": measured.lag.worst_own <= 100}
            if late_polled:
                goals["half an interval late and a second"] = statistics.median(late_polled) <= interval / 2 + 1
            if late_streamed:
                goals["a second late with a stream"] = statistics.median(late_streamed) <= 1
            if way == "shared":
                requests_a_run[count] = total / count
                goals["25 KB a wait"] = measured.kilobytes <= 25 or count < 1000  # of few, it is noise
                if count >= 5000:
                    goals["n/50 requests an interval"] = total / intervals <= count / 50
                if naive_cpu and count >= 5000:
                    goals["a quarter of the CPU"] = measured.cpu <= naive_cpu / 4
            missed += [f"{count:,}, {way}: {goal}" for goal, is_met in goals.items() if not is_met]
    falling = [requests_a_run[count] for count in sizes if count in requests_a_run]
    if falling != sorted(falling, reverse=True):
        missed.append("fewer requests a run the more there are")
    if missed:
        sys.exit("\nMissed: " + "; ".join(missed))
    print("\nAll goals met.")


if __name__ == "__main__":
    main()
