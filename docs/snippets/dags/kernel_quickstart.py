from airflow.sdk import DAG, task

from airflow_provider_kernel.operators.invocation import KernelInvokeOperator

with DAG("kernel_quickstart", schedule=None):
    search = KernelInvokeOperator(
        task_id="search",
        app_name="demo",
        action_name="echo",
        payload={"city": "Lisbon", "nights": 2},
    )

    @task
    def summarize(found):
        return f"{found['nights']} nights in {found['city']}"

    summarize(search.output)
