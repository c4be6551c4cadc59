from airflow.sdk import DAG

from airflow_provider_kernel.operators.orphans import KernelCancelOrphansOperator

with DAG("kernel_orphans", schedule="@hourly", catchup=False):
    KernelCancelOrphansOperator(
        task_id="cancel_orphans",
        app_name="demo",
        correlation_key="_airflow",  # the one that the invoking tasks have
        dag_ids=["kernel_search"],  # for tasks without a correlation_key
        dry_run_only=False,
    )
