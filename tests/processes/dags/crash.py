"""Tasks that the tests crash."""

from airflow.sdk import DAG

from airflow_provider_kernel.operators.invocation import KernelInvokeOperator

with DAG("crash", schedule=None):
    arguments = {"app_name": "shop", "action_name": "buy", "payload": {"tickets": 2}, "poll_interval": 0.05}
    KernelInvokeOperator(task_id="blocking", **arguments)
    KernelInvokeOperator(task_id="marked", correlation_key="_airflow", **arguments)
    KernelInvokeOperator(task_id="deferrable", deferrable=True, **arguments)
    KernelInvokeOperator(task_id="forgetful", durable=False, **arguments)
