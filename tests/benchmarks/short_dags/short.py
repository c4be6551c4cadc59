"""
The DAGs of ``short_deferrals.py``: mapped tasks that wait in three ways, each for an invocation of another length.

Each task writes down when its process gives the task up to wait elsewhere, one line of JSON each.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from airflow.sdk import DAG

from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.operators.invocation import KernelInvokeOperator
from airflow_provider_kernel.sensors.invocation import KernelInvocationSensor

COUNT = int(os.environ["BENCHMARK_COUNT"])
SHORTEST, LONGEST = 0.5, 15.0
APP = {"app_name": "benchmark", "action_name": "wait"}


def seconds(number):
    return SHORTEST + (LONGEST - SHORTEST) * number / max(1, COUNT - 1)


class Noted:
    """To be put before an operator class."""

    def execute(self, context):
        try:
            return super().execute(context)
        except BaseException:  # what defers or reschedules a task
            ti = context["ti"]
            line = {"at": time.time(), "dag_id": ti.dag_id, "number": ti.map_index}
            with open(os.environ["BENCHMARK_NOTES"], "a") as file:
                file.write(json.dumps(line) + "\n")
            raise


class Invoke(Noted, KernelInvokeOperator):
    pass


class Sense(Noted, KernelInvocationSensor):
    """Wait for an invocation that it starts itself, so that the wait is as short as the invocation."""

    def __init__(self, *, number, **kwargs):
        super().__init__(invocation_id="started-later", **kwargs)
        self.number = number

    def execute(self, context):
        # Airflow clears XCom before each poke of a rescheduled sensor.
        started = Path(f"{os.environ['BENCHMARK_NOTES']}.{context['run_id']}.{self.number}")
        if not started.exists():
            with KernelHook() as hook:
                payload = {"number": self.number, "seconds": seconds(self.number)}
                started.write_text(hook.invoke(**APP, payload=payload).id)
        self.invocation_id = started.read_text()
        return super().execute(context)

    def execute_complete(self, context, event=None):
        self.invocation_id = event["invocation_id"]
        return super().execute_complete(context, event)


with DAG("short_invocations", schedule=None):
    payloads = [{"number": number, "seconds": seconds(number)} for number in range(COUNT)]
    Invoke.partial(task_id="wait", **APP, deferrable=True).expand(payload=payloads)

numbers = list(range(COUNT))

with DAG("short_waits", schedule=None):
    Sense.partial(task_id="wait", deferrable=True, poke_interval=1).expand(number=numbers)

with DAG("short_reschedules", schedule=None):
    Sense.partial(task_id="wait", mode="reschedule", poke_interval=1).expand(number=numbers)
