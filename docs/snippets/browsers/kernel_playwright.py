from airflow.sdk import DAG

from airflow_provider_kernel.operators.playwright import KernelPlaywrightOperator

with DAG("kernel_playwright", schedule=None):
    KernelPlaywrightOperator(
        task_id="prices",
        code="""
            await page.goto(args.url);
            console.log(`read ${page.url().length} characters`);
            return await page.locator(".price").allInnerTexts();
        """,
        args={"url": "data:text/html,<p class=price>20</p><p class=price>15</p>"},
        timeout=60,
    )
