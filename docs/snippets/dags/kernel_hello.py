from airflow.sdk import DAG

from airflow_provider_kernel.operators.invocation import KernelInvokeOperator

with DAG("kernel_hello", schedule=None, params={"name": "Ada"}):
    KernelInvokeOperator(
        task_id="hello",
        app_name="greeter",
        action_name="hello",
        payload={"name": "{{ params.name }}"},
    )
