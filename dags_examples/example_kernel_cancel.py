"""
### End invocations that should not go on

Two invocations that something else started. `KernelCancelInvocationOperator` ends the first one as failed, together
with its browsers; `KernelUpdateInvocationOperator` ends the second one as failed too, with an output of our choice.
"""

import os

from airflow.sdk import DAG, task

from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.operators.invocation import (
    KernelCancelInvocationOperator,
    KernelUpdateInvocationOperator,
)

APP = os.environ.get("KERNEL_EXAMPLE_APP", "demo")

with DAG("example_kernel_cancel", schedule=None, tags=["example", "kernel"], doc_md=__doc__):

    @task
    def start_shopper():
        with KernelHook() as hook:
            return hook.invoke(APP, "browsers", {"count": 1, "seconds": 300}, async_timeout_seconds=300).id

    @task
    def start_reader():
        with KernelHook() as hook:
            return hook.invoke(APP, "hang", async_timeout_seconds=300).id

    KernelCancelInvocationOperator(
        task_id="cancel",
        invocation_id=start_shopper(),
        reason="The shop is closed",
    )
    KernelUpdateInvocationOperator(
        task_id="update",
        invocation_id=start_reader(),
        status="failed",
        invocation_output={"error": "The page has moved", "see": "https://example.com"},
    )
