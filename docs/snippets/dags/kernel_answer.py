from airflow.sdk import DAG

from airflow_provider_kernel.callbacks import fail_kernel_invocation
from airflow_provider_kernel.operators.invocation_task import (
    KernelInvocationTaskOperator,
)


def count(city):
    return {"city": city, "orders": 42}


with DAG(
    "kernel_answer",
    schedule=None,
    on_failure_callback=fail_kernel_invocation(),
):
    KernelInvocationTaskOperator(
        task_id="count",
        python_callable=count,
        op_kwargs={"city": "{{ dag_run.conf['city'] }}"},
        retries=2,
    )
