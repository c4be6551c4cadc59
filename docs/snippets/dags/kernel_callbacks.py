from airflow.sdk import DAG, task

from airflow_provider_kernel.callbacks import (
    complete_kernel_invocation,
    fail_kernel_invocation,
)

with DAG(
    "kernel_callbacks",
    schedule=None,
    on_success_callback=complete_kernel_invocation({"imported": True}),
    on_failure_callback=fail_kernel_invocation("The import failed"),
):

    @task
    def import_orders():
        """Import what the shop has sold."""

    import_orders()
