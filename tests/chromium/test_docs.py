"""The code on the pages about browsers, against emulated browsers with a real Chromium."""

import json
import re
import runpy
import sys
from pathlib import Path

import pytest
from support.airflow_home import AIRFLOW, make_home

from airflow_provider_kernel.testing import KernelEmulator

ROOT = Path(__file__).parents[2]
SNIPPETS = ROOT / "docs" / "snippets" / "browsers"
OUTPUT = SNIPPETS / "kernel_rows.txt"
RUN_DAGS = ROOT / "tests" / "docs" / "run_dags.py"
LONGEST_SECONDS = 300

pytestmark = pytest.mark.timeout(LONGEST_SECONDS + 60)


@pytest.fixture(scope="module")
def kernel():
    with KernelEmulator() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def run(tmp_path_factory, kernel):
    """Run a command in an Airflow whose DAGs are those of the pages, and return what it prints."""
    home = make_home(tmp_path_factory.mktemp("reader"), SNIPPETS)

    def run(*command):
        with home.running(command, kernel) as process:
            code = process.wait(LONGEST_SECONDS)
        printed = home.output.read_text()
        assert code == 0, printed[-8000:]
        return printed

    return run


@pytest.fixture(scope="module")
def runs(run):
    found = json.loads(run(sys.executable, str(RUN_DAGS), str(SNIPPETS)).splitlines()[-1])
    assert found.pop("errors") == {}
    return found


def result_of(runs, dag_id, task, way="with"):
    return runs[dag_id][way][task]["returned"]


@pytest.mark.parametrize("way", ["with", "without"])
def test_dags_of_the_pages_succeed_with_a_logical_date_and_without(runs, way):
    states = {
        dag_id: {task["state"] for name, task in ways[way].items() if name != "conf"}
        for dag_id, ways in runs.items()
    }
    assert len(states) == 6
    assert {dag_id: found for dag_id, found in states.items() if found != {"success"}} == {}


def test_dags_of_the_pages_return_what_the_pages_say(runs, kernel):
    assert result_of(runs, "kernel_rows", "prices") == [20, 15]
    assert result_of(runs, "kernel_browser_handle", "statement") == {"account": "A-17", "paid": 42}
    assert result_of(runs, "kernel_browser_handle", "on_the_machine") == "Shop"
    assert result_of(runs, "kernel_browser_operator", "title[1]") == "Shop"
    assert result_of(runs, "kernel_playwright", "prices") == ["20", "15"]
    assert [browser.session_id for browser in kernel.browsers if browser.is_active] == []


def test_tutorial_shows_the_lines_of_the_log(run):
    printed = run(AIRFLOW, "dags", "test", "kernel_rows")
    for line in OUTPUT.read_text().splitlines():
        pattern = re.escape(line).replace("e3kqnhcqyzdz3dqhw8p1ez9y", "[a-z0-9]{24}")
        pattern = re.sub(r"0\\\.\d", r"\\d+\\.\\d", pattern)
        assert re.search(pattern, printed), f"{line!r} is not in\n{printed[-5000:]}"


def test_browser_of_a_hook_is_ended_after_the_block(kernel, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", kernel.airflow_connection)
    notebook = runpy.run_path(str(SNIPPETS / "notebook.py"))
    assert notebook["title_of"]("data:text/html,<title>Shop</title>") == "Shop"
    (session_id,) = notebook["start_and_end"]()
    ended = {browser.session_id: browser.end_cause for browser in kernel.browsers}
    assert ended[session_id] == "deleted"
    assert set(ended.values()) == {"deleted"}
