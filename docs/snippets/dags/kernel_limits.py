from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_kernel.operators.invocation import KernelInvokeOperator

with DAG("kernel_limits", schedule=None):
    KernelInvokeOperator(
        task_id="search",
        app_name="demo",
        action_name="echo",
        payload={"city": "Lisbon"},
        deferrable=True,
        # Airflow's limit; Kernel gets it as well, and a minute more.
        execution_timeout=timedelta(minutes=20),
        retries=2,
        retry_delay=timedelta(minutes=1),
    )
