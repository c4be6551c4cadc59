"""
### Kill the task, and the invocation ends

The action holds a browser for ten minutes. Mark the task `browse` as failed (or succeeded, or clear it) while it
runs: within seconds the operator cancels the invocation and ends its browser, and `check` finds no browser.
"""

import os

from airflow.sdk import DAG, task

from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.operators.invocation import KernelInvokeOperator

APP = os.environ.get("KERNEL_EXAMPLE_APP", "demo")

with DAG("example_kernel_kill", schedule=None, tags=["example", "kernel"], doc_md=__doc__):
    browse = KernelInvokeOperator(
        task_id="browse",
        app_name=APP,
        action_name="browsers",
        payload={"count": 1, "seconds": 600},
        async_timeout_seconds=660,
        poll_interval=1,
    )

    @task(trigger_rule="all_done")
    def check(invocation_id):
        with KernelHook() as hook:
            invocation = hook.get_invocation(invocation_id)
            browsers = hook.list_invocation_browsers(invocation_id)
        return {"status": invocation.status, "browsers": len(browsers)}

    check(browse.output["invocation_id"])
