"""Tasks with a page that the tests run and kill."""

import os
import time

from airflow.sdk import DAG, task

PRICES = "data:text/html,<title>Prices</title><p class=price>20</p><p class=price>15</p>"
DOWNLOAD = "data:text/html,<a id=x download=statement.txt href='data:text/plain,paid'>x</a>"
HANGS = "data:text/html,<title>Hangs</title><script>setTimeout(() => { while (true); }, 50)</script>"
BROKEN = "data:text/html,<title>Broken</title><script>console.error('no stock today')</script>"


def note(*what):
    """Write down what happened, and when."""
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(" ".join(map(str, (time.time(), *what))) + "\n")


def tell():
    """Tell the test that the function is where it stays."""
    with open(os.environ["TOLD"], "w") as told:
        told.write("here")


with DAG("pages", schedule=None):

    @task.kernel_browser
    def prices(page):
        page.goto(PRICES)
        return [{"price": int(row.inner_text())} for row in page.locator(".price").all()]

    @task.kernel_browser
    def generated_prices(page):
        yield "what Airflow takes no notice of"
        page.goto(PRICES)
        return page.locator(".price").all_inner_texts()

    @task.kernel_browser
    def download(page, browser):
        page.goto(DOWNLOAD)
        with page.expect_download() as started:
            page.click("#x")
        file = browser.download(started.value.suggested_filename, os.path.dirname(os.environ["NOTES"]))
        return file.read_text()

    @task.kernel_browser
    def blocked(page):
        tell()
        try:
            page.wait_for_timeout(600_000)
        except BaseException as error:
            note("unwound", type(error).__name__)
            raise

    @task.kernel_browser
    def stubborn(page):
        tell()
        try:
            page.wait_for_timeout(600_000)
        except Exception:  # noqa: BLE001 (what a careless function does)
            note("swallowed")
        return "a result that counts for nothing"

    @task.kernel_browser
    def fails(page):
        page.goto(BROKEN + "?token=secret")
        page.wait_for_function("document.title == 'Broken'")
        raise ValueError("the page is not as expected")

    @task.kernel_browser
    def used_after_its_end(page, browser):
        tell()
        page.wait_for_timeout(600_000)

    @task.kernel_browser
    def ended_in_a_block(browser):
        with browser.page() as page:
            tell()
            page.wait_for_timeout(600_000)

    @task.kernel_browser
    def hangs(page):
        page.goto(HANGS, wait_until="commit")
        page.wait_for_timeout(500)
        raise ValueError("the page never answers")

    @task.kernel_browser
    async def prices_async(page):
        await page.goto(PRICES)
        return await page.locator(".price").all_inner_texts()

    (
        prices()
        >> generated_prices()
        >> download()
        >> blocked()
        >> stubborn()
        >> fails()
        >> used_after_its_end()
        >> ended_in_a_block()
        >> hangs()
        >> prices_async()
    )
