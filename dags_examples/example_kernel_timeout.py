"""
### A task that times out cancels its invocation

The action never ends. After three seconds Airflow's `execution_timeout` fails the task, and the operator cancels
the invocation. The next task checks that it has ended.
"""

import os
from datetime import timedelta

from airflow.sdk import DAG, task

from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.operators.invocation import KernelInvokeOperator

APP = os.environ.get("KERNEL_EXAMPLE_APP", "demo")

with DAG("example_kernel_timeout", schedule=None, tags=["example", "kernel"], doc_md=__doc__):
    endless = KernelInvokeOperator(
        task_id="endless",
        app_name=APP,
        action_name="hang",
        poll_interval=1,
        execution_timeout=timedelta(seconds=3),
    )

    @task(trigger_rule="all_done")
    def check(invocation_id):
        with KernelHook() as hook:
            invocation = hook.get_invocation(invocation_id)
        if invocation.status != "failed":
            raise ValueError(f"Invocation {invocation_id} is {invocation.status}")
        return invocation.status

    # The id is in XCom from the moment it is known, so it is there although the task failed.
    check(endless.output["invocation_id"])
