"""
### One invocation per item

Dynamic task mapping starts one invocation for each payload; the next task gets all outputs, in order.
"""

import os

from airflow.sdk import DAG, task

from airflow_provider_kernel.operators.invocation import KernelInvokeOperator

APP = os.environ.get("KERNEL_EXAMPLE_APP", "demo")

with DAG("example_kernel_mapped", schedule=None, tags=["example", "kernel"], doc_md=__doc__):
    # Kernel's plans allow 5, 10 or 50 concurrent invocations. With many items, create a pool of that size
    # (`airflow pools set kernel 5 "Kernel invocations"`) and add `pool="kernel"` here.
    visits = KernelInvokeOperator.partial(
        task_id="visit",
        app_name=APP,
        action_name="echo",
        poll_interval=1,
    ).expand(payload=[{"page": "prices"}, {"page": "reviews"}, {"page": "jobs"}])

    @task
    def collect(outputs):
        return [output["page"] for output in outputs]

    collect(visits.output)
