"""
### Fifty invocations, within the concurrency limit of Kernel's plan

Deferred tasks take no worker slot, but each holds one of the concurrent invocations that Kernel's plan allows
(5, 10 or 50). A pool that counts deferred tasks keeps to that limit:
`airflow pools set --include-deferred kernel 5 "Kernel invocations"`, and `pool="kernel"` here.
"""

import os

from airflow.sdk import DAG, task

from airflow_provider_kernel.operators.invocation import KernelInvokeOperator

APP = os.environ.get("KERNEL_EXAMPLE_APP", "demo")
POOL = os.environ.get("KERNEL_EXAMPLE_POOL", "default_pool")

with DAG("example_kernel_fifty", schedule=None, tags=["example", "kernel"], doc_md=__doc__):
    pages = KernelInvokeOperator.partial(
        task_id="page",
        app_name=APP,
        action_name="echo",
        deferrable=True,
        stream_logs=False,
        poll_interval=1,
        pool=POOL,
    ).expand(payload=[{"page": number} for number in range(50)])

    @task
    def total(outputs):
        return sum(output["page"] for output in outputs)

    total(pages.output)
