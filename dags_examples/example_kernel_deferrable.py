"""
### Wait in the triggerer, with the invocation's log in the task's log

A browser agent runs for minutes. With `deferrable=True` the task takes no worker slot while it waits, and the
agent's log appears in the task's log at once. Mark the task as failed, or clear it, to cancel the invocation.
"""

import os

from airflow.sdk import DAG, task

from airflow_provider_kernel.operators.invocation import KernelInvokeOperator

APP = os.environ.get("KERNEL_EXAMPLE_APP", "demo")

with DAG("example_kernel_deferrable", schedule=None, tags=["example", "kernel"], doc_md=__doc__):
    talk = KernelInvokeOperator(
        task_id="talk",
        app_name=APP,
        action_name="logs",
        payload={"lines": 20, "per_second": 10},
        deferrable=True,
        poll_interval=1,
    )

    @task
    def count(result):
        return result["lines"]

    count(talk.output)
