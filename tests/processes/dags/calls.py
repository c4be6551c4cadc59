"""Tasks whose calls to Airflow are counted."""

from airflow.sdk import DAG

from airflow_provider_kernel.operators.invocation import KernelInvokeOperator
from airflow_provider_kernel.sensors.invocation import KernelInvocationSensor

with DAG("calls", schedule=None):
    invoke = {"app_name": "demo", "action_name": "count", "poll_interval": 0.05}
    KernelInvokeOperator(task_id="invoke_blocking", **invoke)
    KernelInvokeOperator(task_id="invoke_deferrable", deferrable=True, **invoke)
    wait = {"invocation_id": "{{ dag_run.conf['kernel_invocation_id'] }}", "poke_interval": 0.05}
    KernelInvocationSensor(task_id="sensor_poke", **wait)
    KernelInvocationSensor(task_id="sensor_deferrable", deferrable=True, **wait)
