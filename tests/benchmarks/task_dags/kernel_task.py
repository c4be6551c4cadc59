"""A task of this package, for ``task_cpu.py``."""

from airflow.sdk import DAG

from airflow_provider_kernel.operators.invocation import KernelInvokeOperator

with DAG("kernel_task", schedule=None):
    KernelInvokeOperator(task_id="wait", app_name="benchmark", action_name="wait", payload=1, deferrable=True)
