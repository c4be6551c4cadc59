from airflow.sdk import DAG

from airflow_provider_kernel.operators.invocation import KernelInvokeOperator

with DAG("kernel_live_view", schedule=None):
    KernelInvokeOperator(
        task_id="browse",
        app_name="demo",
        action_name="browsers",
        payload={"count": 1, "seconds": 5},
        poll_interval=1,
        live_view_link=True,
    )
