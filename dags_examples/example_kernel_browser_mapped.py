"""
### One browser for each page, as many at once as Kernel's plan allows

Dynamic task mapping runs the task once for each address, each time with a browser of its own. Kernel's plan says
how many browsers there may be at once, and an Airflow pool keeps to that:
`airflow pools set kernel_browsers 5 "Browsers at Kernel"`, and `pool="kernel_browsers"` in a DAG of yours. Here it
is `KERNEL_EXAMPLE_BROWSER_POOL=kernel_browsers`, where Airflow parses the DAG.
"""

import os

from airflow.sdk import DAG, task

POOL = os.environ.get("KERNEL_EXAMPLE_BROWSER_POOL", "default_pool")
SITE = "https://quotes.toscrape.com/js"

with DAG(
    "example_kernel_browser_mapped",
    schedule=None,
    params={"urls": [f"{SITE}/page/1/", f"{SITE}/page/2/", f"{SITE}/page/3/"]},
    tags=["example", "kernel"],
    doc_md=__doc__,
):

    @task
    def pages(params):
        return params["urls"]

    @task.kernel_browser(pool=POOL)
    def first_author(page, url):
        page.goto(url)
        return page.locator(".author").first.inner_text()

    @task
    def authors(found):
        return sorted(set(found))

    authors(first_author.expand(url=pages()))
