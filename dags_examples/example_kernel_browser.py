"""
### A page behind JavaScript becomes rows

`@task.kernel_browser` gives the function a browser at Kernel, and Playwright's `page` of it. The browser ends with
the task, however that ends. What the function returns is in XCom, as with every task. `page` needs the extra
`[playwright]` on the workers, which need no browser. Trigger the DAG with another `url` to read another page.
"""

from airflow.sdk import DAG, task

with DAG(
    "example_kernel_browser",
    schedule=None,
    params={"url": "https://quotes.toscrape.com/js/"},
    tags=["example", "kernel"],
    doc_md=__doc__,
):

    @task.kernel_browser
    def quotes(page, url):
        page.goto(url)
        found = page.locator(".quote")
        found.first.wait_for()  # until the page's script has written them
        return [
            {"author": quote.locator(".author").inner_text(), "text": quote.locator(".text").inner_text()}
            for quote in found.all()
        ]

    @task
    def authors(rows):
        return sorted({row["author"] for row in rows})

    authors(quotes("{{ params.url }}"))
