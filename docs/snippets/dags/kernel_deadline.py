from datetime import timedelta

from airflow.sdk import DAG, task
from airflow.sdk.definitions.deadline import (
    AsyncCallback,
    DeadlineAlert,
    DeadlineReference,
)

from airflow_provider_kernel.callbacks import fail_kernel_invocation
from airflow_provider_kernel.notifications.kernel import KernelInvocationNotifier

with DAG(
    "kernel_deadline",
    schedule=None,
    on_failure_callback=fail_kernel_invocation(),
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(minutes=10),
        callback=AsyncCallback(
            KernelInvocationNotifier,
            kwargs={"reason": "Not done by {{ deadline.deadline_time }}"},
        ),
    ),
) as dag:

    @task.kernel_invocation
    def import_orders():
        return {"orders": 42}

    import_orders()
