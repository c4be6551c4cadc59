from airflow.sdk import DAG, Param, setup, task

from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.operators.invocation import (
    KernelCancelInvocationOperator,
    KernelInvokeOperator,
)

with DAG(
    "kernel_clean_up",
    schedule=None,
    params={"orders": Param(42, type="integer")},
):

    @setup
    def start_agent(params):
        if not params["orders"]:
            return None  # there is nothing to do for an agent
        with KernelHook() as hook:
            return hook.invoke("demo", "hang").id

    @task
    def work():
        return "done"

    agent = start_agent()
    end_agent = KernelCancelInvocationOperator(
        task_id="end_agent",
        invocation_id=agent,
        if_finished="ignore",
        if_missing="skip",
    )
    agent >> work() >> end_agent.as_teardown(setups=agent)

    # Its output is the result; the id has an XCom of its own.
    run = KernelInvokeOperator(
        task_id="run",
        app_name="demo",
        action_name="sleep",
        payload={"seconds": 1},
        cancel_on_kill=False,
    )
    end_run = KernelCancelInvocationOperator(
        task_id="end_run",
        invocation_id="{{ ti.xcom_pull(task_ids='run', key='invocation_id') }}",
        if_finished="ignore",
        if_missing="skip",
    )
    run >> end_run.as_teardown()
