"""
A DAG of eight lines with a page, on a whole Airflow and a real Chromium, and a search of all that Airflow keeps.

The search is for the secrets of all browsers so far: in a run of the matrix, those of killed tasks as well.
"""

from contextlib import closing

import psycopg2
import pytest

from airflow_stack.rest import timestamp

DAG_ID, TASK_ID = "rows_of_a_page", "rows"


@pytest.fixture(scope="module")
def run_id(matrix):
    """A run that has succeeded."""
    api = matrix.stack.api
    matrix.stack.wait_for_dags({DAG_ID})
    run_id = api.start_run(DAG_ID)
    api.wait_for_state(DAG_ID, run_id, {"success"}, timeout=120)
    return run_id


def test_rows_of_the_page_are_in_xcom_and_its_browser_is_gone(run_id, stack, kernel):
    kernel.wait_until(lambda: not any(browser.chromium_pid for browser in kernel.browsers), timeout=1)
    assert stack.api.xcom(DAG_ID, run_id, TASK_ID) == [{"price": 20}, {"price": 15}]
    (browser,) = [browser for browser in kernel.browsers if browser.tags["airflow_run"] == run_id]
    (task_instance,) = stack.api.task_instances(DAG_ID, run_id)
    assert (browser.end_cause, browser.connections) == ("deleted", 1)
    assert timestamp(browser.ended_at) < timestamp(task_instance["end_date"]) + 1


def test_no_log_and_no_table_has_an_address_or_the_key(run_id, stack, kernel):
    places = [*read_logs(stack), *read_tables(stack)]
    found = lambda text: {place for place, what in places if text in what}  # noqa: E731
    # The search itself: this is where the run has left its id.
    assert {"table dag_run", "table xcom", "table rendered_task_instance_fields", "scheduler.log"} <= found(run_id)
    session_id = stack.api.xcom(DAG_ID, run_id, TASK_ID, "browser_id")
    assert {"table xcom", "attempt=1.log"} <= found(session_id)
    assert found("jwt=") == set()
    assert found(kernel.api_key) == set()
    for browser in kernel.browsers:
        assert found(browser.token) == set()
        assert found(browser.token[-40:]) == set()


def read_logs(stack):
    """Read the logs of the tasks, of callbacks and of Airflow's components."""
    for path in (*stack.folder.glob("*.log"), *(stack.folder / "home" / "logs").rglob("*")):
        if path.is_file():
            yield path.name, path.read_text(errors="replace")


def read_tables(stack):
    """Read all rows of Airflow's database as texts."""
    url = stack.environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("+psycopg2", "")
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT t::text FROM "{table}" t')  # noqa: S608 (Airflow's own names)
            yield from ((f"table {table}", text) for (text,) in cursor.fetchall())
