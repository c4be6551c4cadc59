import json

from airflow.sdk import DAG, task

from airflow_provider_kernel.operators.invocation import KernelInvokeOperator


@task
def titles(page: str) -> list[str]:
    return [row["title"] for row in json.loads(page)["rows"]]


with DAG("kernel_output", schedule=None):
    scrape = KernelInvokeOperator(
        task_id="scrape",
        app_name="demo",
        action_name="echo",
        payload={"rows": [{"title": "Lisbon", "__classname__": "hero"}]},
        output_as="json_text",
    )
    titles(scrape.output)
