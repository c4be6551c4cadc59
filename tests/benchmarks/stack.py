"""
How long 500 mapped deferrable tasks take in a real Airflow, and how much of that is Airflow's own share.

    uv run python tests/benchmarks/stack.py
    uv run python tests/benchmarks/stack.py --count 100 --seconds 60 --no-logs

It needs Postgres on this machine (Debian, Ubuntu: ``apt-get install postgresql``), of which it starts a server of
its own, and beside it API server, scheduler with the LocalExecutor, DAG processor and triggerer. Kernel is the
emulator, in a process of its own.

Two DAGs of the same shape (``dags/waits.py``) are run in the same Airflow, one after the other:

- "Airflow's own": mapped tasks that are deferred on Airflow's ``TimeDeltaTrigger`` and do nothing else. What this
  takes is Airflow's share: a process for each task, the deferral, noticing its end, a process again.
- "Kernel": as many mapped tasks of ``KernelInvokeOperator``, deferrable, otherwise with its defaults, each with an
  invocation that takes the same time, writes one log line and ends by itself.

One task of each runs before, since the first one in a process pays for what is loaded once: with this package's
trigger a triggerer loads Airflow's own API, seconds of processor time. Then Airflow's own runs first and last, so
that what is left of the warm-up is counted against neither; the ratio is to the mean of the two. In both DAGs each
task writes down when it starts, defers, is resumed and ends. Of Airflow's settings, the number of tasks that run at
once is the 16 that Airflow allows a DAG, and there is one API worker; Postgres does not wait for the disk.

It is checked that every task has succeeded with the output of its own invocation, and that every invocation was
started once, ended by itself and was cancelled by nobody; then, what a task costs beside Airflow's own share. If
something is not as it must be, this says so and the exit status is 1. The goals are those of the defaults, on a
machine that does nothing else: fewer or shorter waits make other ratios.

The waits overlap as far as tasks can be deferred before the first ones come back ("first start to last deferral").
With ``--seconds`` longer than that, all are deferred at once; with less, the first are resumed while the last have
not begun, and the whole run takes as long as Airflow needs to start every task twice.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from goals import Goals  # noqa: E402

from airflow_stack.services import MissingServiceError  # noqa: E402
from airflow_stack.stack import AirflowStack  # noqa: E402
from whole_stack.check import faults  # noqa: E402
from whole_stack.kernel import KernelProcess  # noqa: E402
from whole_stack.run import AIRFLOW, KERNEL, WARM_UP, Outcome, Runner  # noqa: E402
from whole_stack.table import as_markdown, check_goals, warning  # noqa: E402

#: How many faults of a run to print.
_FAULTS = 20


def measure(options: argparse.Namespace) -> list[Outcome]:
    """Start a stack and run the DAGs in it, Airflow's own first and last."""
    with KernelProcess() as kernel:
        settings = {
            "AIRFLOW_CONN_KERNEL_DEFAULT": kernel.airflow_connection,
            "BENCHMARK_COUNT": str(options.count),
            "BENCHMARK_SECONDS": str(options.seconds),
            "BENCHMARK_POLL_INTERVAL": str(options.poll_interval),
            "BENCHMARK_LOGS": "yes" if options.logs else "no",
        }
        stack = AirflowStack("local", HERE / "dags", settings=settings, parallelism=options.parallelism)
        notes = stack.folder / "notes"
        notes.touch()
        stack.environment["BENCHMARK_NOTES"] = str(notes)
        try:
            stack.start()
            stack.wait_for_dags({AIRFLOW, KERNEL, WARM_UP})
            runner = Runner(stack, kernel, notes, count=options.count, wait_seconds=options.seconds)
            runner.warm_up()
            outcomes = []
            for dag_id in (AIRFLOW, KERNEL, AIRFLOW):
                outcomes.append(runner.run(dag_id))
                print(f"{dag_id}: {outcomes[-1].state} after {outcomes[-1].seconds:.0f} s", file=sys.stderr)
            return outcomes
        finally:
            stack.stop()


def main() -> int:
    """Measure, check, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    parser.add_argument("--count", type=int, default=500, help="how many mapped tasks (%(default)s)")
    parser.add_argument("--seconds", type=float, default=180, help="how long each waits (%(default)s)")
    parser.add_argument(
        "--poll-interval", type=float, default=10, help="of the operator (%(default)s, its default)"
    )
    parser.add_argument("--parallelism", type=int, default=16, help="tasks at a time on workers (%(default)s)")
    parser.add_argument("--no-logs", dest="logs", action="store_false", help="have the operator stream no logs")
    options = parser.parse_args()
    try:
        outcomes = measure(options)
    except MissingServiceError as missing:
        sys.exit(str(missing))

    import airflow

    logs = "with" if options.logs else "without"
    print(
        f"{options.count:,} mapped tasks that wait {options.seconds:g} s, {logs} log streams, poll_interval "
        f"{options.poll_interval:g} s; Airflow {airflow.__version__}, LocalExecutor with {options.parallelism} "
        f"workers, Postgres; Python {platform.python_version()}, {os.cpu_count()} cores\n"
    )
    found = [fault for outcome in outcomes for fault in faults(outcome, options.count)]
    if not found:
        print(as_markdown(outcomes))
        print(f"\nEvery one of {options.count:,} tasks succeeded in each run; every invocation was started once.")
        print(warning(outcomes))
        goals = Goals()
        check_goals(outcomes, goals)
        return goals.tell()
    for fault in found[:_FAULTS]:
        print(fault)
    if len(found) > _FAULTS:
        print(f"... and {len(found) - _FAULTS} more")
    for outcome in outcomes:
        if outcome.log:
            print(f"\nThe log of a task of {outcome.dag_id}:\n{outcome.log}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
