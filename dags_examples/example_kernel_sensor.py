"""
### Wait for an invocation that something else started

The sensor does not own the invocation, so it never cancels it. It returns the output. A failed invocation fails the
sensor, or skips it with `soft_fail=True`. With `deferrable=True` the sensor waits in the triggerer.
"""

import os

from airflow.sdk import DAG, task

from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.sensors.invocation import KernelInvocationSensor

APP = os.environ.get("KERNEL_EXAMPLE_APP", "demo")

with DAG("example_kernel_sensor", schedule=None, tags=["example", "kernel"], doc_md=__doc__):

    @task
    def start_sleeper():
        with KernelHook() as hook:
            return hook.invoke(APP, "sleep", {"seconds": 2}, async_timeout_seconds=60).id

    sleeper = start_sleeper()
    KernelInvocationSensor(task_id="wait", invocation_id=sleeper, poke_interval=1, timeout=60)
    KernelInvocationSensor(
        task_id="wait_deferred",
        invocation_id=sleeper,
        poke_interval=1,
        timeout=60,
        deferrable=True,
    )
