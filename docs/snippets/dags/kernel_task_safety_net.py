from airflow.sdk import DAG

from airflow_provider_kernel.callbacks import kernel_safety_net, kernel_task_safety_net
from airflow_provider_kernel.operators.invocation import KernelInvokeOperator

with DAG(
    "kernel_task_safety_net",
    schedule=None,
    default_args=kernel_task_safety_net(),
    **kernel_safety_net(),
):
    KernelInvokeOperator(
        task_id="search",
        app_name="demo",
        action_name="echo",
        payload={"city": "Lisbon"},
    )
