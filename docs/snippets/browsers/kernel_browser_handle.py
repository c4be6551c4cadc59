import json
from pathlib import Path
from tempfile import mkdtemp

from airflow.sdk import DAG, task

with DAG("kernel_browser_handle", schedule=None):

    @task.kernel_browser(idle_timeout=600, tags={"team": "pricing"})
    def statement(page, browser, account):
        page.goto("data:text/html,<a download=paid.txt href='data:text/plain,42'>x</a>")
        with page.expect_download() as started:
            page.click("a")
        folder = mkdtemp()
        file = browser.download(started.value.suggested_filename, folder)
        Path(folder, "screen.png").write_bytes(browser.screenshot())
        return {"account": account, "paid": int(file.read_text())}

    @task.kernel_browser
    def on_the_machine(browser):
        browser.upload(json.dumps({"limit": 3}).encode(), "/home/kernel/settings.json")
        # In TypeScript or JavaScript, next to the browser; `args` is a constant of it.
        return browser.execute(
            "await page.goto(args.url); return await page.title()",
            args={"url": "data:text/html,<title>Shop</title>"},
            timeout=30,
        )

    statement(account="A-17") >> on_the_machine()
