"""The maintenance DAG with the sweep; the tests start its runs."""

from airflow.sdk import DAG

from airflow_provider_kernel.operators.orphans import KernelCancelOrphansOperator

with DAG("sweep", schedule=None, max_active_runs=1):
    KernelCancelOrphansOperator(
        task_id="sweep",
        what=["invocations", "browsers"],
        app_name="demo",
        dag_ids=["plain_blocking", "late_retry_blocking"],
        dry_run_only=False,
        since="10m",
    )
