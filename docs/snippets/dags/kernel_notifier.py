from airflow.sdk import DAG, task

from airflow_provider_kernel.notifications.kernel import KernelInvocationNotifier

end = KernelInvocationNotifier(output_from="summarize")

with DAG(
    "kernel_notifier",
    schedule=None,
    on_success_callback=end,
    on_failure_callback=end,
) as dag:

    @task
    def summarize():
        return {"rooms": 3}

    summarize()
