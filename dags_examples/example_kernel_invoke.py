"""
### Run an action of a Kernel app and use its output

`KernelInvokeOperator` starts an invocation, waits for it and returns its output, so the next task takes it as any
other XCom. The payload is templated: trigger the DAG with another `city` to change it.
"""

import os

from airflow.sdk import DAG, task

from airflow_provider_kernel.operators.invocation import KernelInvokeOperator

APP = os.environ.get("KERNEL_EXAMPLE_APP", "demo")

with DAG(
    "example_kernel_invoke",
    schedule=None,
    params={"city": "Lisbon"},
    tags=["example", "kernel"],
    doc_md=__doc__,
):
    search = KernelInvokeOperator(
        task_id="search",
        app_name=APP,
        action_name="echo",
        payload={"city": "{{ params.city }}", "nights": 2},
        poll_interval=1,
    )

    @task
    def summarize(found):
        return f"{found['nights']} nights in {found['city']}"

    summarize(search.output)
