"""
The two DAGs that ``stack.py`` compares, as many mapped tasks deferred for as long, and one to begin with.

Each task writes down when it starts, defers, is resumed and ends, one line of JSON each.
"""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import DAG, BaseOperator

from airflow_provider_kernel.operators.invocation import KernelInvokeOperator

COUNT = int(os.environ["BENCHMARK_COUNT"])
SECONDS = float(os.environ["BENCHMARK_SECONDS"])
WARM_UP_SECONDS = 10
#: Kernel's own limit must not end them, and its longest is an hour.
LIMIT_SECONDS = 3600


def note(what, ti, **more):
    line = {"what": what, "at": time.time(), "run_id": ti.run_id, "number": ti.map_index, **more}
    # One write to a file opened for appending: it needs no lock.
    descriptor = os.open(os.environ["BENCHMARK_NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(descriptor, json.dumps(line).encode() + b"\n")
    finally:
        os.close(descriptor)


class Noted:
    """To be put before an operator class."""

    _noted_ti = None

    def execute(self, context):
        self._noted_ti = context["ti"]
        note("start", self._noted_ti)
        return super().execute(context)

    def defer(self, **kwargs):
        note("defer", self._noted_ti)
        super().defer(**kwargs)

    def resume_execution(self, next_method, next_kwargs, context):
        note("resume", context["ti"])
        result = super().resume_execution(next_method, next_kwargs, context)
        note("end", context["ti"], result=result)
        return result


class WaitOperator(BaseOperator):
    """Be deferred on Airflow's own trigger, and do nothing else."""

    def __init__(self, *, number, seconds=SECONDS, **kwargs):
        super().__init__(**kwargs)
        self.number = number
        self.seconds = seconds

    def execute(self, context):
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=self.seconds)), method_name="execute_complete")

    def execute_complete(self, context, event):
        return {"number": self.number}


class Wait(Noted, WaitOperator):
    """Airflow's own share."""


class Invoke(Noted, KernelInvokeOperator):
    """What this package adds to it."""


KERNEL_ARGUMENTS = {
    "app_name": "benchmark",
    "action_name": "wait",
    "deferrable": True,
    "async_timeout_seconds": LIMIT_SECONDS,
    "poll_interval": float(os.environ["BENCHMARK_POLL_INTERVAL"]),
    "stream_logs": os.environ["BENCHMARK_LOGS"] == "yes",
}

with DAG("airflow_waits", schedule=None):
    Wait.partial(task_id="wait").expand(number=list(range(COUNT)))

with DAG("kernel_waits", schedule=None):
    payloads = [{"number": number, "seconds": SECONDS} for number in range(COUNT)]
    Invoke.partial(task_id="wait", **KERNEL_ARGUMENTS).expand(payload=payloads)

with DAG("warm_up", schedule=None):
    Wait(task_id="airflow", number=0, seconds=WARM_UP_SECONDS)
    Invoke(task_id="kernel", payload={"number": 0, "seconds": WARM_UP_SECONDS}, **KERNEL_ARGUMENTS)
