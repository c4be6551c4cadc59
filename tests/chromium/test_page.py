"""A function with a page, on Airflow's task runner: what it can do, and how it ends."""

import json
import os
import time

import pytest
import structlog
from airflow.sdk.log import logging_processors
from support.task_process import run_task

from airflow_provider_kernel.testing import Fault
from airflow_provider_kernel.testing.resources.browsers import Browsers


@pytest.fixture
def run(execution_api, kernel_connection, tmp_path):
    """Run a task of the DAG file, and return the text of its log."""

    def run(task_id, act=lambda task: None):
        path = tmp_path / "task.log"
        with path.open("wb") as file:
            logger = structlog.wrap_logger(
                structlog.BytesLogger(file), processors=logging_processors(json_output=True), logger_name="task"
            ).bind()
            run_task(execution_api, task_id, dag_id="pages", file="pages.py", act=act, logger=logger)
        text = path.read_text()
        assert "jwt=e" not in text
        records = [json.loads(line) for line in text.splitlines()]
        errors = [str(error["exc_value"]) for record in records for error in record.get("error_detail") or ()]
        return " ".join([*(str(record["event"]) for record in records), *errors])

    return run


def until_told():
    """Wait until the function is where it stays."""
    with open(os.environ["TOLD"]) as told:
        told.read()


def kill(task):
    until_told()
    task.kill_as_airflow_does()


def assert_browser_was_deleted(kernel):
    (browser,) = kernel.browsers
    assert browser.end_cause == "deleted"


def seconds_to_unwind(kernel, notes):
    """Return how long after the request that ends the browser the function went on."""
    (delete,) = kernel.requests("DELETE", "/browsers/*")
    unwound = float(notes.read_text().split()[0])
    return unwound - (time.time() - time.monotonic() + delete.received_at)


def test_rows_of_a_page_are_the_result(run, kernel_emulator, execution_api, notes):
    run("prices")
    assert execution_api.final_state == "success"
    assert execution_api.xcoms["return_value"] == [{"price": 20}, {"price": 15}]
    assert_browser_was_deleted(kernel_emulator)


def test_generator_function_has_its_page_to_its_end(run, kernel_emulator, execution_api, notes):
    run("generated_prices")
    assert execution_api.xcoms["return_value"] == ["20", "15"]
    assert_browser_was_deleted(kernel_emulator)


def test_download_of_a_page_is_fetched_under_its_own_name(run, execution_api, notes):
    run("download")
    assert execution_api.xcoms["return_value"] == "paid"


@pytest.mark.needs_airflow("3.2", "earlier versions run no async tasks")
def test_async_function_gets_the_page_for_event_loops(run, kernel_emulator, execution_api, notes):
    run("prices_async")
    assert execution_api.xcoms["return_value"] == ["20", "15"]
    assert_browser_was_deleted(kernel_emulator)


@pytest.mark.parametrize("stays_open", [False, True], ids=["CDP closes", "CDP kept open"])
def test_kill_deletes_the_browser_and_unwinds_code_that_is_blocked_in_the_page(
    run, kernel_emulator, execution_api, notes, stays_open
):
    kernel_emulator.switches.cdp_open_after_delete = stays_open
    log = run("blocked", kill)
    assert execution_api.final_state == "failed"
    assert_browser_was_deleted(kernel_emulator)
    assert "unwound TargetClosedError" in notes.read_text()
    assert seconds_to_unwind(kernel_emulator, notes) < 1
    assert "The task was killed while it used browser" in log


def test_kill_unwinds_although_the_delete_is_answered_late(run, kernel_emulator, execution_api, notes):
    kernel_emulator.add_fault(Fault("DELETE", "/browsers/*", nth=None, delay=10))
    run("blocked", kill)
    assert "unwound" in notes.read_text()
    kernel_emulator.wait_until(lambda: kernel_emulator.browsers[0].end_cause == "deleted", timeout=20)


def test_killed_task_fails_although_its_function_returns(run, kernel_emulator, execution_api, notes):
    run("stubborn", kill)
    assert "swallowed" in notes.read_text()
    assert execution_api.final_state == "failed"
    assert "return_value" not in execution_api.xcoms


def test_failed_function_logs_where_its_page_was(run, kernel_emulator, execution_api, notes):
    log = run("fails")
    assert execution_api.final_state == "failed"
    assert_browser_was_deleted(kernel_emulator)
    assert "title: Broken" in log
    assert "Its console said: no stock today" in log
    assert "token=secret" not in log


@pytest.mark.parametrize("task_id", ["used_after_its_end", "ended_in_a_block"])
def test_use_of_a_browser_that_has_ended_says_when_it_ended(run, kernel_emulator, execution_api, notes, task_id):
    def act(task):
        until_told()
        (browser,) = kernel_emulator.browsers
        kernel_emulator.room(Browsers).end(browser.session_id, "idle")

    log = run(task_id, act)
    assert execution_api.final_state == "failed"
    assert "has ended (at" in log
    assert "Kernel does not say why" in log


def test_connection_that_was_cut_is_told_from_the_end_of_the_browser(run, kernel_emulator, execution_api, notes):
    def act(task):
        until_told()
        with kernel_emulator.outage("refuse"):
            kernel_emulator.wait_until(lambda: kernel_emulator.browsers[0].clients == 0)

    log = run("used_after_its_end", act)
    assert execution_api.final_state == "failed"
    assert "was closed, but the browser runs" in log
    assert "Kernel closes connections after about an hour" in log
    assert_browser_was_deleted(kernel_emulator)


def test_report_of_a_page_that_never_answers_is_bounded(run, kernel_emulator, execution_api, notes):
    log = run("hangs")
    assert execution_api.final_state == "failed"
    assert "title: not known" in log
    assert "the page never answers" in log
    assert_browser_was_deleted(kernel_emulator)


def test_kill_while_playwright_connects_unwinds(run, kernel_emulator, execution_api, notes):
    connect = kernel_emulator.add_fault(Fault("GET", "/browser/*/cdp", hold=True))

    def act(task):
        connect.wait_until_held(timeout=30)
        task.kill_as_airflow_does()
        kernel_emulator.wait_until(lambda: kernel_emulator.browsers[0].end_cause == "deleted")

    log = run("blocked", act)
    connect.release()
    assert "The task was killed while it" in log
