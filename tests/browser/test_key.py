"""The key that was typed into the form is found nowhere afterwards."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from cryptography.fernet import Fernet
from playwright.sync_api import expect


@pytest.fixture
def answers(page):
    """Collect the text of each answer of Airflow's that this window gets from now on, by its address."""
    collected: dict[str, str] = {}
    page.on("requestfinished", lambda request: collected.update({request.url: _text_of(request)}))
    return collected


def _text_of(request):
    response = request.response()
    # A redirect has no text.
    return response.text() if response is not None and response.ok else ""


@pytest.fixture(scope="module")
def finished(stack, connection):
    """A run of the example that is over: it has a log, XComs, rendered fields."""
    run_id = stack.api.start_run("example_kernel_deferrable")
    stack.api.wait_for_state("example_kernel_deferrable", run_id, ["success"], timeout=90)
    return stack.api.xcom("example_kernel_deferrable", run_id, "talk", "invocation_id")


@pytest.fixture(scope="module")
def deferred(stack, connection, kernel):
    """A run that waits in the triggerer."""
    known = {record.id for record in kernel.invocations}
    run_id = stack.api.start_run("wait_in_the_triggerer")
    stack.api.wait_for_state("wait_in_the_triggerer", run_id, ["deferred"])
    (invocation,) = (record for record in kernel.invocations if record.id not in known)
    yield invocation.id
    kernel.finish(invocation.id, output=None)
    stack.api.wait_for_state("wait_in_the_triggerer", run_id, ["success"])


@pytest.fixture
def select(stack):
    """Read a column of Airflow's database, as text."""
    url = stack.environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("+psycopg2", "")
    with closing(psycopg2.connect(url)) as database, database.cursor() as cursor:

        def select(query):
            cursor.execute(f"SELECT {query}")
            return [text for (text,) in cursor.fetchall()]

        yield select


def airflow(stack, *arguments):
    """Run a command of Airflow's, and return all that it says."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "airflow"), *arguments],
        env=stack.environment,
        cwd=stack.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout + done.stderr


def test_key_is_on_no_page_and_in_nothing_the_browser_receives(ui, page, answers, kernel):
    ui.add_connection("kept_secret", url=kernel.base_url, key=kernel.api_key, port=kernel.port)
    assert kernel.api_key not in page.content()
    assert any("kept_secret" in text for text in answers.values())

    ui.press_test("kept_secret")
    expect(ui.notice("Test Connection Successful")).to_be_visible()
    assert kernel.api_key not in page.content()

    page.reload()
    ui.row("kept_secret").get_by_role("button", name="Edit Connection").click()
    form = page.get_by_role("dialog")
    form.get_by_role("button", name="Show value").click()
    expect(form.get_by_role("textbox", name="API key")).to_have_value("***")
    ui.screenshot("connection-edit", height=880)
    assert kernel.api_key not in page.content()
    typed = page.evaluate("Array.from(document.querySelectorAll('input, textarea'), field => field.value)")
    assert "kept_secret" in typed
    assert kernel.api_key not in str(typed)

    assert [url for url, text in answers.items() if kernel.api_key in text] == []


def test_key_is_not_in_the_rest_api(page, ui, connection, kernel):
    ui.open_connections()
    for path in ("/api/v2/connections", f"/api/v2/connections/{connection}"):
        answer = page.request.get(path)
        assert answer.ok
        assert connection in answer.text()
        assert kernel.api_key not in answer.text()


def test_key_is_not_in_the_database(select, finished, deferred, kernel):
    names = select("tablename FROM pg_tables WHERE schemaname = 'public'")
    tables = {name: "\n".join(select(f'row::text FROM "{name}" row')) for name in names}
    # It does hold what ran, and the connection: the key would have been seen.
    assert finished in tables["xcom"]
    assert deferred in tables["xcom"]
    assert "kernel_default" in tables["connection"]
    assert "payload" in tables["rendered_task_instance_fields"]
    assert [name for name, text in tables.items() if kernel.api_key in text] == []


def test_key_is_not_in_the_trigger_row(stack, select, deferred, kernel):
    (made_of,) = select("kwargs FROM trigger WHERE classpath LIKE '%KernelInvocationTrigger'")
    if not made_of.startswith("{"):  # Airflow encrypts it at some points of a trigger's life
        made_of = Fernet(stack.environment["AIRFLOW__CORE__FERNET_KEY"]).decrypt(made_of.encode()).decode()
    assert deferred in made_of
    assert kernel.api_key not in made_of


def test_key_is_in_no_log(stack, finished, deferred, kernel):
    logs = [*stack.folder.glob("*.log"), *(p for p in (stack.folder / "home" / "logs").rglob("*") if p.is_file())]
    texts = {path: path.read_text(errors="replace") for path in logs}
    assert {"api-server.log", "scheduler.log", "dag-processor.log", "triggerer.log"} <= {p.name for p in logs}
    assert any(finished in text for text in texts.values())
    assert any(deferred in text for text in texts.values())
    assert [path for path, text in texts.items() if kernel.api_key in text] == []


@pytest.mark.parametrize("output", ["table", "json", "yaml", "plain"])
def test_key_is_not_in_the_list_of_connections_of_the_cli(stack, connection, kernel, output):
    said = airflow(stack, "connections", "list", "--output", output)
    assert connection in said
    assert kernel.api_key not in said


def test_key_is_shown_by_airflow_on_a_shell(stack, connection, kernel):
    # As docs/connection.md says. It needs the database and the Fernet key, and is Airflow's own doing.
    assert kernel.api_key in airflow(stack, "connections", "get", connection, "--output", "json")
    assert kernel.api_key in airflow(stack, "connections", "export", "-", "--file-format", "json")
