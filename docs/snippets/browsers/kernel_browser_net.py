from datetime import timedelta

from airflow.sdk import DAG, task

from airflow_provider_kernel.callbacks import kernel_safety_net
from airflow_provider_kernel.operators.orphans import KernelCancelOrphansOperator

with DAG("kernel_browser_net", schedule="@daily", catchup=False, **kernel_safety_net()):

    @task.kernel_browser(
        retries=2,
        execution_timeout=timedelta(minutes=15),
        pool="default_pool",  # yours: as many slots as your plan has browsers
    )
    def title(page):
        page.goto("data:text/html,<title>Shop</title>")
        return page.title()

    title()

with DAG("kernel_browser_sweep", schedule="@hourly", catchup=False):
    KernelCancelOrphansOperator(
        task_id="end_browsers",
        what=["browsers"],
        dry_run_only=False,
    )
