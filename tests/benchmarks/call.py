"""
What a call costs: ``PATCH /invocations/{id}`` by this package's hook, by bare httpx and by the official SDK.

    uv run python tests/benchmarks/call.py

All three call the same server, a process of its own that has one answer ready for everything (``far_end.py``): so
the client is what is measured, and each microsecond of it counts in full. They take turns, in blocks of a few calls
and in another order each time, and a ratio is that of two blocks of the same turn: what else the machine does
meanwhile meets them all alike. Printed is the median of these ratios.

- ``bare httpx``: what one would write by hand, an ``httpx.Client`` that is kept: PATCH, ``raise_for_status()``,
  ``json()``. No retries, no bounds, no masking. Its pool is as large as it needs.
- ``hook``: ``KernelHook.update_invocation``; the hook is kept, as within a task, and is one for all threads.
- ``official SDK``: ``Kernel().invocations.update()``, kept.
- ``fresh httpx``, ``fresh hook``: made anew for each call, and closed.

"CPU" is the processor time of the whole process for a call, which a busy machine changes less. The last table is of
fresh processes: the import, and the first call with all that only it pays.

It ends with 1, and says which, when a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from far_end import INVOCATION_ID, FarEnd, far_end
from goals import Goals

KEY = "sk-benchmark"
OUTPUT = {"answer": 42}
THREADS = 32

Call = Callable[[], object]

#: For a process of its own: what is imported, what is made, and the call. Without the garbage collection, which
#: comes when it comes and goes through all that Airflow has in memory.
FIRST = """
import gc, json, time
gc.disable()
{before}
began = time.perf_counter()
{imports}
imported = time.perf_counter()
{make}
{call}
first = time.perf_counter()
{call}
print(json.dumps([imported - began, first - imported, time.perf_counter() - first]))
"""
FIRST_CALLS = {
    "bare httpx": (
        "",
        "import httpx",
        "client = httpx.Client(base_url={url!r}, headers={{'Authorization': 'Bearer {key}'}})",
        "client.patch('/invocations/{id}', json={{'status': 'succeeded', 'output': '{{}}'}}).json()",
    ),
    "hook": (
        "import airflow.sdk",
        "from airflow_provider_kernel.hooks.kernel import KernelHook",
        "client = KernelHook()",
        "client.update_invocation('{id}', 'succeeded', {{}})",
    ),
    "official SDK": (
        "",
        "from kernel import Kernel",
        "client = Kernel(api_key='{key}', base_url={url!r})",
        "client.invocations.update('{id}', status='succeeded', output='{{}}')",
    ),
}


@dataclass
class Measured:
    """What the calls of one candidate took, a list for each turn."""

    turns: list[list[float]] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """Give a percentile of all calls, in microseconds."""
        calls = sorted(seconds for turn in self.turns for seconds in turn)
        return calls[int(len(calls) * share)] * 1e6


def take_turns(calls: dict[str, Call], turns: int, block: int) -> dict[str, Measured]:
    """Call in blocks, each candidate once a turn."""
    measured = {name: Measured() for name in calls}
    for call in calls.values():
        for _ in range(block):
            call()
    names = list(calls)
    for _ in range(turns):
        random.shuffle(names)
        for name in names:
            call, took = calls[name], []
            cpu = time.process_time()
            for _ in range(block):
                began = time.perf_counter()
                call()
                took.append(time.perf_counter() - began)
            measured[name].processor.append((time.process_time() - cpu) / block)
            measured[name].turns.append(took)
    return measured


def throughput(call: Call, threads: int, each: int) -> tuple[float, float]:
    """Call from many threads at once: calls a second, and processor time a call."""
    barrier = threading.Barrier(threads + 1)
    failed: list[BaseException] = []

    def work() -> None:
        barrier.wait()
        try:
            for _ in range(each):
                call()
        except BaseException as error:
            failed.append(error)
            raise

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    barrier.wait()
    began, cpu = time.perf_counter(), time.process_time()
    for worker in workers:
        worker.join()
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    if failed:
        raise failed[0]
    return threads * each / took, cpu / (threads * each)


def ratio(ones: list[float], others: list[float]) -> float:
    """Compare two candidates turn by turn."""
    return median(one / other for one, other in zip(ones, others, strict=True))


def one_thread(calls: dict[str, Call], options: argparse.Namespace, goals: Goals) -> None:
    """Compare what a call takes."""
    measured = take_turns(calls, options.turns, options.block)
    p50 = {name: [median(turn) for turn in one.turns] for name, one in measured.items()}
    print(f"\n1 thread, {options.turns} turns of {options.block} calls\n")
    print(f"{'':>14} {'p50':>10} {'p99':>10} {'CPU':>10}   {'p50 / bare':>10}   {'CPU / bare':>10}")
    for name, one in measured.items():
        print(
            f"{name:>14} {one.percentile(0.5):7.0f} us {one.percentile(0.99):7.0f} us "
            f"{median(one.processor) * 1e6:7.0f} us   {ratio(p50[name], p50['bare httpx']):10.2f}   "
            f"{ratio(one.processor, measured['bare httpx'].processor):10.2f}"
        )
    goals.at_most("hook / bare httpx, p50", ratio(p50["hook"], p50["bare httpx"]), 1.06)
    goals.at_most("hook / official SDK, p50", ratio(p50["hook"], p50["official SDK"]), 0.65)


def many_threads(calls: dict[str, Call], options: argparse.Namespace, goals: Goals) -> None:
    """Compare how many calls threads get done."""
    calls_a_second: dict[str, list[float]] = {name: [] for name in calls}
    processor: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for turn in range(-1, options.thread_turns):
        random.shuffle(names)
        for name in names:
            done, cpu = throughput(calls[name], THREADS, options.each)
            if turn >= 0:  # the first one makes the connections
                calls_a_second[name].append(done)
                processor[name].append(cpu)
    print(f"\n{THREADS} threads, {options.thread_turns} turns of {THREADS * options.each:,} calls\n")
    print(f"{'':>14} {'calls / s':>10} {'CPU':>10}   {'throughput / bare':>17}   {'CPU / bare':>10}")
    for name in calls:
        print(
            f"{name:>14} {median(calls_a_second[name]):10,.0f} {median(processor[name]) * 1e6:7.0f} us   "
            f"{ratio(calls_a_second[name], calls_a_second['bare httpx']):17.2f}   "
            f"{ratio(processor[name], processor['bare httpx']):10.2f}"
        )
    share = ratio(calls_a_second["hook"], calls_a_second["bare httpx"])
    goals.at_least(f"hook / bare httpx, throughput of {THREADS} threads", share, 0.95)


def made_anew(kept: Call, fresh: dict[str, Call]) -> None:
    """Show what it costs not to keep a client."""
    measured = take_turns({"kept": kept, **fresh}, turns=10, block=10)
    kept_p50 = [median(turn) for turn in measured["kept"].turns]
    print("\nMade anew for each call, and closed\n")
    for name in fresh:
        p50 = [median(turn) for turn in measured[name].turns]
        print(f"{name:>14} {median(p50) * 1e3:7.1f} ms   {ratio(p50, kept_p50):6.1f} x bare httpx that is kept")


def first_calls(far: FarEnd, rounds: int) -> None:
    """Show what only the first call of a process pays."""
    seconds: dict[str, list[list[float]]] = {name: [] for name in FIRST_CALLS}
    for _ in range(rounds):
        for name, (before, imports, *steps) in FIRST_CALLS.items():
            make, call = (step.format(url=far.url, key=KEY, id=INVOCATION_ID) for step in steps)
            program = FIRST.format(before=before, imports=imports, make=make, call=call)
            done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
            seconds[name].append(json.loads(done.stdout.splitlines()[-1]))
    print(f"\nThe first call of a process, {rounds} processes each; airflow.sdk is imported before the hook\n")
    print(f"{'':>14} {'import':>10} {'first':>10} {'second':>10}")
    for name, processes in seconds.items():
        print(f"{name:>14} " + " ".join(f"{median(step) * 1e3:7.1f} ms" for step in zip(*processes, strict=True)))


def main() -> int:
    """Measure, print the tables, and say which goals are missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--block", type=int, default=50, help="calls of each candidate a turn")
    parser.add_argument("--thread-turns", type=int, default=20)
    parser.add_argument("--each", type=int, default=40, help="calls of each thread a turn")
    parser.add_argument("--processes", type=int, default=5, help="fresh processes for each first call")
    options = parser.parse_args()
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-kernel-benchmark-")
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"

    import httpx
    from kernel import Kernel

    from airflow_provider_kernel.hooks.kernel import KernelHook

    lookups = 0

    class CountingHook(KernelHook):
        def get_connection(self, conn_id: str):  # type: ignore[no-untyped-def]
            nonlocal lookups
            lookups += 1
            return super().get_connection(conn_id)

    goals = Goals()
    with far_end() as far:
        os.environ["AIRFLOW_CONN_KERNEL_DEFAULT"] = json.dumps(
            {"conn_type": "kernel", "host": far.url, "password": KEY}
        )
        path = f"/invocations/{INVOCATION_ID}"
        httpx_options = {
            "base_url": far.url,
            "headers": {"Authorization": f"Bearer {KEY}"},
            "limits": httpx.Limits(),
        }
        bare, hook = httpx.Client(**httpx_options), CountingHook()
        sdk = Kernel(api_key=KEY, base_url=far.url)

        def by_httpx(client: httpx.Client) -> object:
            answer = client.patch(path, json={"status": "succeeded", "output": json.dumps(OUTPUT)})
            return answer.raise_for_status().json()

        def fresh_httpx() -> object:
            with httpx.Client(**httpx_options) as client:
                return by_httpx(client)

        def fresh_hook() -> object:
            with KernelHook() as hook:
                return hook.update_invocation(INVOCATION_ID, "succeeded", OUTPUT)

        kept: dict[str, Call] = {
            "bare httpx": lambda: by_httpx(bare),
            "hook": lambda: hook.update_invocation(INVOCATION_ID, "succeeded", OUTPUT),
            "official SDK": lambda: sdk.invocations.update(
                INVOCATION_ID, status="succeeded", output=json.dumps(OUTPUT)
            ),
        }
        one_thread(kept, options, goals)
        many_threads(kept, options, goals)

        made_anew(kept["bare httpx"], {"fresh httpx": fresh_httpx, "fresh hook": fresh_hook})
        first_calls(far, options.processes)

        with CountingHook() as counted:
            lookups = 0
            for what, threads, each in (("calls", 1, 1000), (f"calls of {THREADS} threads", THREADS, 50)):
                far.counts()
                throughput(lambda: counted.update_invocation(INVOCATION_ID, "succeeded", OUTPUT), threads, each)
                connections, requests = far.counts()
                goals.at_most(f"connections to the server in {requests:,} {what} of one hook", connections, threads)
            goals.at_most("lookups of the Airflow connection in all of them", lookups, 1)
    return goals.tell()


if __name__ == "__main__":
    sys.exit(main())
