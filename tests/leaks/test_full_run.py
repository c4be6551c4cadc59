"""
One run with everything in it, and a search of all that is left of it: no key and no address of a browser anywhere,
no payload and no output but where they belong.

Everything: each operator, the sensor, the trigger, callbacks and notifier, well and badly, with a server that shows
the key in its errors; with logging at DEBUG and without Airflow's own masking. ``dag.test()`` has a database and
writes to stdout what would be the tasks' logs; the log files of a whole Airflow are searched by tests/browser, and
by tests/system/test_page.py after a task with the page of a real Chromium.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_provider_kernel.testing import ActionError, Fault, KernelEmulator
from leaks.markers import ANSWER, KEY, OUTPUT, PARTS_OF_KEY, PAYLOAD, PLANTED

HERE = Path(__file__).parent
ECHO = {
    "status": 403,
    "headers": {"X-Request-Id": f"for-{KEY}", "X-Echo": f"Bearer {KEY}"},
    "body": {
        "code": f"forbidden-{KEY}",
        "message": f"Not with Authorization: Bearer {KEY}",
        "details": [{"code": KEY, "message": f"Bearer {KEY}"}],
    },
}


def deploy(emulator):
    """Deploy actions; those that are waited for in the triggerer begin when its look at the log does."""

    def when_watched(ctx):
        emulator.wait_for("GET", f"/invocations/{ctx.invocation_id}/events", timeout=120)

    @emulator.action("shop", "buy")
    def buy(ctx, payload):
        return {"receipt": OUTPUT}

    @emulator.action("shop", "buy_slowly")
    def buy_slowly(ctx, payload):
        when_watched(ctx)
        ctx.log("buying")
        return {"receipt": OUTPUT}

    @emulator.action("shop", "fail")
    def fail(ctx, payload):
        when_watched(ctx)
        raise ActionError("sold out", output=json.dumps({"error": OUTPUT}))

    @emulator.action("shop", "wait")
    def wait(ctx):
        ctx.wait()

    @emulator.action("shop", "tell_the_key")
    def tell_the_key(ctx):
        when_watched(ctx)
        ctx.log(f"sent with Authorization: Bearer {KEY}")

    @emulator.action("shop", "refuse_looks")
    def refuse_looks(ctx):
        when_watched(ctx)
        path = f"/invocations/{ctx.invocation_id}"
        emulator.add_fault(Fault("GET", path, nth=1, **{**ECHO, "status": 502}))
        emulator.add_fault(Fault("GET", path, nth=None, **ECHO))
        ctx.wait()


@pytest.fixture(scope="module")
def kernel():
    with KernelEmulator(api_key=KEY) as emulator:
        deploy(emulator)
        emulator.add_fault(Fault("GET", "/browser/*/cdp", nth=None, **ECHO))
        yield emulator


@pytest.fixture(scope="module")
def kernel_without_logs():
    with KernelEmulator(api_key=KEY) as emulator:
        deploy(emulator)
        emulator.add_fault(Fault("GET", "/invocations/*/events", nth=None, **ECHO))
        yield emulator


@pytest.fixture(scope="module")
def echo():
    """A server that refuses everything, now and then in a way that is worth another attempt."""
    with KernelEmulator(api_key=KEY) as emulator:
        emulator.add_fault(Fault("*", "*", nth=(1, 5), **{**ECHO, "status": 502}))
        emulator.add_fault(Fault("*", "*", nth=None, **ECHO))
        yield emulator


@dataclass(frozen=True)
class Left:
    """
    What is left of the run.

    :param home: Airflow's home.
    :param told: what the run told of itself.
    :param output: what it wrote to stdout and stderr.
    """

    home: Path
    told: dict
    output: str


@pytest.fixture(scope="module")
def left(kernel, kernel_without_logs, echo, tmp_path_factory):
    home = tmp_path_factory.mktemp("everything")
    foreign = ("AIRFLOW", "KERNEL_", "PYTEST_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    quick = {"max_attempts": 2, "max_retry_seconds": 5}
    connections = {
        f"AIRFLOW_CONN_{name}": json.dumps(
            {"conn_type": "kernel", "host": emulator.base_url, "password": KEY, "extra": quick}
        )
        for name, emulator in {
            "KERNEL_DEFAULT": kernel,
            "KERNEL_WITHOUT_LOGS": kernel_without_logs,
            "KERNEL_ECHO": echo,
        }.items()
    }
    done = subprocess.run(
        [sys.executable, str(HERE / "full_run.py"), str(HERE / "dags"), str(home / "told.json")],
        cwd=home,
        env={
            **inherited,
            **connections,
            "AIRFLOW_VAR_PAYLOAD": PAYLOAD,
            "AIRFLOW_VAR_ANSWER": ANSWER,
            "PYTHONPATH": str(HERE.parent),
            "AIRFLOW_HOME": str(home / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(HERE / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "AIRFLOW__CORE__FERNET_KEY": "",  # so that what is encrypted can be searched too
            "AIRFLOW__CORE__HIDE_SENSITIVE_VAR_CONN_FIELDS": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-10000:]
    return Left(home, json.loads((home / "told.json").read_text()), done.stdout)


def read_tables(database):
    """Each table's rows by what is told apart: the keys of XComs, the names of the other tables."""
    with closing(sqlite3.connect(database)) as connection:
        connection.text_factory = lambda raw: raw.decode(errors="replace")
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            cursor = connection.execute(f'SELECT * FROM "{name}"')  # noqa: S608 (its own names)
            columns = [column for column, *_ in cursor.description]
            for row in cursor:
                fields = dict(zip(columns, row, strict=True))
                texts = [text.decode(errors="replace") if isinstance(text, bytes) else str(text) for text in row]
                yield f"XCom {fields['key']}" if name == "xcom" else f"table {name}", "\n".join(texts)


def read_output(output):
    """What was written; the messages between task and supervisor, which Airflow tells at DEBUG, for themselves."""
    for line in output.splitlines():
        line = re.sub(r"\x1b\[[0-9;]*m", "", line)
        message = re.search(r"(?:Sending request|Received message from task runner) .*\bmsg=(\w+)", line)
        yield f"message {message[1]}" if message else "stdout and stderr", line


def read_files(folder):
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith("airflow.db"):
            yield f"file {path.name}", path.read_text(errors="replace")


def read_journal(journal):
    for request in journal:
        yield f"body of {request.method}", request.body.decode()
        yield "journal", f"{request.path} {request.query} {request.headers} {request.status}"


@pytest.fixture(scope="module")
def places(left, kernel, kernel_without_logs, echo):
    """All that is left, as pairs of a place and a text."""
    journals = [request for emulator in (kernel, kernel_without_logs, echo) for request in emulator.journal]
    return [
        *read_output(left.output),
        *read_tables(left.home / "airflow" / "airflow.db"),
        *read_files(left.home / "airflow"),
        *(("repr", text) for text in left.told["objects"]),
        *read_journal(journals),
        *(("repr", repr(emulator)) for emulator in (kernel, kernel_without_logs, echo)),
    ]


@pytest.fixture
def found(places):
    """Search: the names of the places where a text is."""
    return lambda text: {place for place, what in places if text in what}


def test_full_run_did_everything(left, kernel, echo):
    assert set(left.told["states"]["goes_well"].values()) == {"success"}
    well = {"orphans", "log_is_refused", "log_is_refused_deferrable"}
    badly = left.told["states"]["goes_badly"]
    assert {name for name, state in badly.items() if state == "success"} == well
    assert {state for name, state in badly.items() if name not in well} == {"failed"}
    assert left.told["states"]["leaks"] == {"leaky": "failed"}
    assert left.output.count("Pausing task as DEFERRED") == 7
    by_callback = [kernel.invocation(left.told["waiting"][number]) for number in (4, 6)]
    assert by_callback[0].output_json == {"receipt": ANSWER}
    assert by_callback[1].status == "failed"
    # Kernel has refused all that was asked of the others.
    running = [invocation.action_name for invocation in kernel.invocations if not invocation.finished]
    assert sorted(running) == ["refuse_looks", "refuse_looks", "wait"]
    # That of the hook belongs to no task.
    assert [browser.end_cause for browser in kernel.browsers] == ["deleted"] * 5 + [None]


def test_key_was_shown_in_answers(left, echo):
    assert {request.status for request in echo.journal} == {403, 502}
    assert "403 forbidden-***: Not with Authorization: Bearer ***" in left.output
    assert "(request for-***)" in left.output
    assert left.output.count("kernel | sent with Authorization: Bearer ***") == 2
    assert "(b'x-echo', b'Bearer ***')" in left.output


@pytest.mark.parametrize("text", [KEY, *PARTS_OF_KEY], ids=["whole", "first half", "second half"])
def test_key_is_nowhere(text, found):
    # With this message a task tells Airflow what to hide. Only the supervisor of dag.test() logs it.
    assert found(text) == {"message MaskSecret"}


def test_addresses_of_browsers_are_nowhere(found, kernel):
    # Playwright was given one, and has told it in its error.
    assert kernel.requests("GET", "/browser/*/cdp")
    assert found("jwt=") == set()
    # With this message a task tells Airflow what to hide, as for the key.
    assert found(kernel.browsers[0].token) == {"message MaskSecret"}
    for browser in kernel.browsers:
        for text in (browser.token, browser.token[: len(browser.token) // 2], browser.token[-40:]):
            assert found(text) <= {"message MaskSecret"}


def test_payload_is_only_in_rendered_template_fields(found):
    # It is a template field, so Airflow keeps it and shows it on the task's page; and it is sent to Kernel.
    assert found(PAYLOAD) == {
        "table rendered_task_instance_fields",
        "message SetRenderedFields",
        "message MaskSecret",  # as the value of a Variable
        "body of POST",
    }


def test_output_is_only_in_the_return_value(found):
    assert found(OUTPUT) == {"XCom return_value", "message SetXCom"}


def test_answer_is_only_in_template_fields_and_the_return_value(found):
    assert found(ANSWER) == {
        "table rendered_task_instance_fields",
        "message SetRenderedFields",
        "XCom return_value",
        "message SetXCom",
        "message MaskSecret",
        "body of PATCH",
    }


def test_search_finds_a_planted_secret(found):
    """The search itself: a task of the test's own has leaked a text in all ways."""
    assert found(PLANTED) >= {
        "stdout and stderr",
        "XCom leak",
        "table dag_run",
        "table rendered_task_instance_fields",
        "table task_state_store",
        "table trigger",
        "repr",
        "journal",
    }
