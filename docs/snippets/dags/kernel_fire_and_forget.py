from airflow.sdk import DAG

from airflow_provider_kernel.operators.invocation import KernelInvokeOperator
from airflow_provider_kernel.sensors.invocation import KernelInvocationSensor

with DAG("kernel_fire_and_forget", schedule=None):
    start = KernelInvokeOperator(
        task_id="start",
        app_name="demo",
        action_name="sleep",
        payload={"seconds": 2},
        wait_for_completion=False,
    )
    # Optional: only if something later in the DAG needs the result.
    KernelInvocationSensor(task_id="wait", invocation_id=start.output, poke_interval=1)
