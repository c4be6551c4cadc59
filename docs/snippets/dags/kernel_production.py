from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_kernel.callbacks import kernel_safety_net
from airflow_provider_kernel.operators.invocation import KernelInvokeOperator

with DAG("kernel_production", schedule="@daily", **kernel_safety_net()):
    KernelInvokeOperator(
        task_id="search",
        app_name="demo",
        action_name="echo",
        payload={"city": "Lisbon"},
        deferrable=True,
        retries=2,
        retry_delay=timedelta(minutes=5),
        execution_timeout=timedelta(minutes=30),
        pool="kernel",
    )
