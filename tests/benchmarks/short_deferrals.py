"""
Whether short waits in the triggerer come out as the successes that they are, on a machine with both cores busy.

    uv run python tests/benchmarks/short_deferrals.py
    uv run python tests/benchmarks/short_deferrals.py --min-deferral 0      # what happens without the least length
    uv run python tests/benchmarks/short_deferrals.py --executor celery --dag short_waits

Airflow's scheduler learns some time after a deferral that the process which deferred has ended. If the task is
queued again before that, the scheduler takes the report for one of the new process and fails the task, whatever its
invocation did. So a trigger sends no event before ``[kernel] min_deferral`` seconds have passed.

It starts an Airflow with Postgres (Debian, Ubuntu: ``apt-get install postgresql redis-server``), runs 200 mapped
tasks without retries whose invocations take 0.5 to 15 seconds, and keeps every core busy with a loop meanwhile. It
prints how many tasks failed, and how long after a deferral the scheduler got the report, which is what the least
length has to be longer than. The exit status is 1 when a task failed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from airflow_stack.services import MissingServiceError  # noqa: E402
from airflow_stack.stack import AirflowStack  # noqa: E402
from whole_stack.kernel import KernelProcess  # noqa: E402

DAGS = ("short_invocations", "short_waits", "short_reschedules")
#: What the scheduler writes when it takes the report for one of the process that goes on.
_MISTAKEN = re.compile(r"finished with state success, but the task instance's state attribute is")
_RUN_SECONDS = 1800
_LOOK_SECONDS = 1.0
_REPORT = re.compile(
    r"^(\S+) .*Received executor event with state success for task instance TaskInstanceKey\("
    r"dag_id='(\w+)', task_id='wait'.*map_index=(\d+)"
)


@contextmanager
def busy_cores() -> Iterator[None]:
    """Keep every core busy."""
    loops = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def until_over(stack: AirflowStack, dag_id: str, run_id: str) -> None:
    """Wait for the end of a run."""
    deadline = time.monotonic() + _RUN_SECONDS
    while stack.api.run_state(dag_id, run_id) not in ("success", "failed"):
        if time.monotonic() > deadline:
            sys.exit(f"{dag_id} is not over after {_RUN_SECONDS} s:\n{stack.logs()}")
        time.sleep(_LOOK_SECONDS)


def report_delays(stack: AirflowStack, notes: Path, dag_id: str) -> list[float]:
    """List, in seconds and in order, how long after each task's first deferral the scheduler got the report."""
    deferred: dict[int, float] = {}
    for line in notes.read_text().splitlines():
        note = json.loads(line)
        if note["dag_id"] == dag_id:
            deferred.setdefault(note["number"], note["at"])
    reported: dict[int, float] = {}
    log = re.sub(r"\x1b\[[0-9;]*m", "", (stack.folder / "scheduler.log").read_text(errors="replace"))
    for line in log.splitlines():
        found = _REPORT.match(line)
        if found and found[2] == dag_id:
            at = datetime.fromisoformat(found[1].replace("Z", "+00:00")).timestamp()
            reported.setdefault(int(found[3]), at)
    return sorted(reported[number] - at for number, at in deferred.items() if number in reported)


def measure(executor: str, options: argparse.Namespace) -> int:
    """Run the DAGs on an executor, print what became of their tasks, and return how many failed."""
    failed = 0
    with KernelProcess() as kernel:
        settings = {
            "AIRFLOW_CONN_KERNEL_DEFAULT": kernel.airflow_connection,
            "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": str(options.parallelism),
            "AIRFLOW__KERNEL__MIN_DEFERRAL": str(options.min_deferral),
            "BENCHMARK_COUNT": str(options.count),
        }
        stack = AirflowStack(executor, HERE / "short_dags", settings=settings, parallelism=options.parallelism)
        notes = stack.folder / "notes"
        notes.touch()
        stack.environment["BENCHMARK_NOTES"] = str(notes)
        try:
            stack.start()
            stack.wait_for_dags(set(DAGS))
            for dag_id in options.dags:
                with busy_cores():
                    began = time.monotonic()
                    run_id = stack.api.start_run(dag_id)
                    until_over(stack, dag_id, run_id)
                    seconds = time.monotonic() - began
                states = Counter(
                    str(ti["state"]) for ti in stack.api.task_instances(dag_id, run_id) if ti["task_id"] == "wait"
                )
                failed += options.count - states["success"]
                for ti in stack.api.task_instances(dag_id, run_id):
                    if ti["state"] == "failed" and ti["task_id"] == "wait":
                        print("\n".join(stack.api.log(dag_id, run_id, "wait", map_index=ti["map_index"])[-8:]))
                        break
                print(
                    f"{executor}, {dag_id}, min_deferral {options.min_deferral:g}: {dict(states)}, {seconds:.0f} s"
                )
                mistaken = len(_MISTAKEN.findall((stack.folder / "scheduler.log").read_text(errors="replace")))
                print(f"  taken for processes that were lost, since the start of this Airflow: {mistaken}")
                delays = report_delays(stack, notes, dag_id)
                if delays:
                    figures = [delays[int(len(delays) * part)] for part in (0.5, 0.9, 0.99)]
                    print(
                        f"  the scheduler got the report of {len(delays)} deferrals after "
                        f"{figures[0]:.1f} s (median), {figures[1]:.1f} s (90 %), {figures[2]:.1f} s (99 %), "
                        f"{delays[-1]:.1f} s (longest)",
                        flush=True,
                    )
        finally:
            stack.stop()
    return failed


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    parser.add_argument("--executor", choices=("local", "celery"), action="append", help="default: both")
    parser.add_argument("--dag", dest="dags", choices=DAGS, action="append", help="default: all")
    parser.add_argument("--count", type=int, default=200, help="how many mapped tasks (%(default)s)")
    parser.add_argument("--min-deferral", type=float, default=10.0, help="the setting (%(default)s, its default)")
    parser.add_argument("--parallelism", type=int, default=16, help="tasks at a time on workers (%(default)s)")
    options = parser.parse_args()
    options.dags = options.dags or DAGS
    try:
        failed = sum([measure(executor, options) for executor in options.executor or ("local", "celery")])
    except MissingServiceError as missing:
        sys.exit(str(missing))
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
