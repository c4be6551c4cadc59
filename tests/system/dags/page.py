from airflow.sdk import DAG, task

with DAG("rows_of_a_page", schedule=None):

    @task.kernel_browser
    def rows(page):
        page.goto("data:text/html,<li>20</li><li>15</li>")
        return [{"price": int(row.inner_text())} for row in page.locator("li").all()]

    rows()
