from airflow.sdk import DAG

from airflow_provider_kernel.operators.invocation import KernelInvokeOperator

with DAG("kernel_correlated", schedule=None):
    # Three tasks that start the same action with the same payload, at the same time.
    KernelInvokeOperator.partial(
        task_id="ask",
        app_name="demo",
        action_name="echo",
        correlation_key="_airflow",
    ).expand(payload=[{"question": "what is the price?"}] * 3)
