"""
### An agent waits for Airflow

Here something else started an invocation, and Airflow does the work that it waits for. The DAG gets the id of the
invocation (in this example it starts the invocation itself), and `KernelCompleteInvocationOperator` ends it as
succeeded. The caller of the invocation gets Airflow's result as its output.
"""

import os

from airflow.sdk import DAG, task

from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.operators.invocation import KernelCompleteInvocationOperator

APP = os.environ.get("KERNEL_EXAMPLE_APP", "demo")

with DAG("example_kernel_complete", schedule=None, tags=["example", "kernel"], doc_md=__doc__):

    @task
    def start_agent():
        with KernelHook() as hook:
            return hook.invoke(APP, "hang", async_timeout_seconds=300).id

    @task
    def count_orders():
        return 42

    @task
    def what_the_caller_sees(invocation_id):
        with KernelHook() as hook:
            invocation = hook.get_invocation(invocation_id)
        return {"status": invocation.status, "output": invocation.parsed_output()}

    agent = start_agent()
    complete = KernelCompleteInvocationOperator(
        task_id="complete",
        invocation_id=agent,
        invocation_output={"orders": count_orders()},
    )
    complete >> what_the_caller_sees(agent)
