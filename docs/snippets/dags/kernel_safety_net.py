from airflow.sdk import DAG

from airflow_provider_kernel.callbacks import cancel_kernel_invocations
from airflow_provider_kernel.operators.invocation import KernelInvokeOperator

with DAG(
    "kernel_safety_net", schedule=None, on_failure_callback=cancel_kernel_invocations
):
    KernelInvokeOperator(
        task_id="search",
        app_name="demo",
        action_name="echo",
        payload={"city": "Lisbon"},
    )
