"""A deferrable task without a triggerer: as a script, it runs its DAG with ``dag.test()``."""

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_kernel.operators.invocation import KernelInvokeOperator

with DAG("inline", schedule=None) as dag:
    KernelInvokeOperator(
        task_id="waits",
        app_name="demo",
        action_name="browsers",
        payload={"count": 2, "seconds": 600},
        deferrable=True,
        poll_interval=3600,
        # A retry would start anew, long after the signal.
        retries=1,
        retry_delay=timedelta(minutes=5),
    )

if __name__ == "__main__":
    dag.test()
