from airflow.sdk import DAG

from airflow_provider_kernel.operators.browser import KernelBrowserTaskOperator


def title(page, url):
    page.goto(url)
    return page.title()


with DAG("kernel_browser_operator", schedule=None):
    KernelBrowserTaskOperator.partial(
        task_id="title",
        python_callable=title,
        op_args=["data:text/html,<title>Shop</title>"],
    ).expand(profile=["alice", "bob"])
