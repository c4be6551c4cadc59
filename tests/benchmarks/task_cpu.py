"""
How much processor time the two processes of a deferred task take, without a whole Airflow.

    uv run python tests/benchmarks/task_cpu.py [--rounds 10]

Airflow's own supervisor forks each process from one that has loaded what a worker of the LocalExecutor has, and
answers its calls from memory. "Airflow's own" is a task that is deferred on Airflow's ``TimeDeltaTrigger`` and does
nothing else; "Kernel" is ``KernelInvokeOperator``, which is resumed once with an event that carries the result and
once with one that does not. The two are measured in turns. Kernel is the emulator, in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
from datetime import datetime, timezone
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

#: The ways to measure: the DAG, and whether the event carries the result.
WAYS = {
    "Airflow's own": ("airflow_task", False),
    "Kernel": ("kernel_task", True),
    "Kernel, result fetched": ("kernel_task", False),
}


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    parser.add_argument("--rounds", type=int, default=10, help="how many tasks of each kind (%(default)s)")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    context.Process(target=serve, args=(theirs,), daemon=True).start()
    configure(pipe.recv())
    load_as_a_worker_does()
    measured: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for number in range(options.rounds + 1):
        for way, (dag_id, carries) in WAYS.items():
            seconds = run_both(dag_id, pipe, carries=carries)
            if number:  # the first one pays for what is loaded once
                measured[way].append(seconds)
    print(f"\nMilliseconds of processor time, median of {options.rounds}\n")
    print("| | First process | Second process | Both, of Airflow's own |\n|---|---|---|---|")
    medians = {way: [statistics.median(one) for one in zip(*rows, strict=True)] for way, rows in measured.items()}
    own = sum(medians["Airflow's own"])
    for way, (first, second) in medians.items():
        print(f"| {way} | {first * 1000:.0f} | {second * 1000:.0f} | {(first + second) / own:.2f} |")
    pipe.send(None)


def serve(pipe: Connection) -> None:
    """Be Kernel, whose invocations end when they are named."""
    from airflow_provider_kernel.testing import KernelEmulator

    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    with KernelEmulator() as kernel:
        kernel.register("benchmark", "wait", lambda ctx, payload: ctx.wait())
        pipe.send(kernel.airflow_connection)
        while invocation_id := pipe.recv():
            kernel.finish(invocation_id, output=1)
            pipe.send("finished")


def configure(connection: str) -> None:
    """Give Airflow a home of its own, and the connection."""
    home = tempfile.mkdtemp(prefix="airflow-kernel-benchmark-")
    bundle = {
        "name": "tests",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(HERE / "task_dags")},
    }
    os.environ |= {
        "AIRFLOW_HOME": home,
        "AIRFLOW_CONN_KERNEL_DEFAULT": connection,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
    }


def load_as_a_worker_does() -> None:
    """Load what the LocalExecutor's workers have from the scheduler; their garbage collection leaves that alone."""
    import gc

    import airflow.executors.local_executor
    import airflow.jobs.scheduler_job_runner
    import airflow.sdk.execution_time.supervisor  # noqa: F401
    import structlog

    nowhere = Path(os.devnull).open("w")  # noqa: SIM115 (for as long as the process lives)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(nowhere))
    gc.collect()
    gc.freeze()


def run_both(dag_id: str, kernel: Connection, *, carries: bool) -> tuple[float, float]:
    """Run a task to its end, and return the processor time of its two processes, in seconds."""
    from support.execution_api import ExecutionAPI

    api = ExecutionAPI()
    first = run_one(api, dag_id)
    deferral = api.states.pop()
    api.start_date = datetime.now(timezone.utc)
    api.next_method = deferral["next_method"]
    invocation_id = deferral["trigger_kwargs"].get("invocation_id")
    if invocation_id:
        kernel.send(invocation_id)
        kernel.recv()
    event: dict[str, Any] = {"invocation_id": invocation_id, "status": "finished"}
    if carries:
        event |= {"invocation": {"id": invocation_id, "status": "succeeded", "output": "1"}, "dashboard": None}
    api.next_kwargs = {"event": event if invocation_id else None}
    second = run_one(api, dag_id)
    if api.final_state != "success":
        raise RuntimeError(f"{dag_id} is {api.final_state}")
    return first, second


def run_one(api: Any, dag_id: str) -> float:
    """Run one process of a task, and return its processor time."""
    from support.task_process import run_task

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run_task(api, "wait", dag_id=dag_id, file=f"{dag_id}.py")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
