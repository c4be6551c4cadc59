"""
A real SIGTERM to a real task process, and SIGKILL five seconds later, as Airflow sends them.

What is cancelled later than that is not cancelled at all, so these tests need no clock.
"""

import os
import select
import threading

import pytest
from support.task_process import run_task

from airflow_provider_kernel.lifecycle.kill import KILL_SECONDS
from airflow_provider_kernel.testing import Fault


@pytest.fixture
def run(execution_api, kernel_connection):
    def run(task_id, act):
        run_task(execution_api, task_id, dag_id="kill", file="kill.py", act=act)

    return run


def running_with_browsers(kernel):
    """Wait until the one invocation runs and holds its two browsers."""
    (invocation,) = kernel.wait_for_invocations(1, timeout=30)
    kernel.wait_until(lambda: kernel.invocation(invocation.id).browsers == 2, timeout=30)
    return invocation.id


def readable(descriptor, timeout):
    """Wait until something can be read."""
    ready, _, _ = select.select([descriptor], [], [], timeout)
    return bool(ready)


def assert_cancelled(kernel, execution_api):
    (invocation,) = kernel.invocations
    assert invocation.status == "failed"
    assert "killed" in invocation.output
    assert invocation.browsers == 0
    assert execution_api.final_state == "failed"


def test_kill_between_two_polls_cancels(run, kernel_emulator, execution_api):
    def act(task):
        running_with_browsers(kernel_emulator)
        task.kill_as_airflow_does()

    run("invoke", act)
    assert_cancelled(kernel_emulator, execution_api)


def test_kill_in_an_http_read_cancels(run, kernel_emulator, execution_api):
    poll = kernel_emulator.add_fault(Fault("GET", "/invocations/*", nth=1, hold=True))

    def act(task):
        kernel_emulator.wait_for("GET", "/invocations/*", timeout=30)
        running_with_browsers(kernel_emulator)
        task.kill_as_airflow_does()
        kernel_emulator.wait_for("DELETE", "/invocations/*/browsers")
        poll.release()

    run("invoke", act)
    assert_cancelled(kernel_emulator, execution_api)


def test_kill_when_kernel_answers_no_reads_cancels(run, kernel_emulator, execution_api):
    kernel_emulator.add_fault(Fault("GET", "/invocations/*", nth=None, hold=True))

    def act(task):
        kernel_emulator.wait_for("GET", "/invocations/*", timeout=30)
        running_with_browsers(kernel_emulator)
        task.kill_as_airflow_does()

    run("invoke", act)
    assert_cancelled(kernel_emulator, execution_api)


@pytest.mark.parametrize("task_id", ["stuck_in_a_log_call", "stuck_in_a_standard_log_call"])
def test_kill_inside_a_log_call_cancels(task_id, run, kernel_emulator, execution_api, monkeypatch, tmp_path):
    in_log_call = tmp_path / "in_log_call"
    os.mkfifo(in_log_call)
    told = os.open(in_log_call, os.O_RDONLY | os.O_NONBLOCK)
    monkeypatch.setenv("IN_LOG_CALL", str(in_log_call))

    def act(task):
        assert readable(told, timeout=30)
        running_with_browsers(kernel_emulator)
        task.kill_as_airflow_does()

    run(task_id, act)
    os.close(told)
    assert_cancelled(kernel_emulator, execution_api)


def test_kill_in_a_supervisor_round_trip_cancels(run, kernel_emulator, execution_api):
    in_round_trip, cancelled = threading.Event(), threading.Event()

    def hold(method, path):
        if path.endswith("/invocation_id"):
            in_round_trip.set()
            assert cancelled.wait(timeout=30)

    execution_api.hold = hold

    def act(task):
        assert in_round_trip.wait(timeout=30)
        running_with_browsers(kernel_emulator)
        try:
            task.kill_as_airflow_does()
            kernel_emulator.wait_for("DELETE", "/invocations/*/browsers")
        finally:
            cancelled.set()

    run("invoke", act)
    assert_cancelled(kernel_emulator, execution_api)


def test_kill_in_the_create_request_cancels(run, kernel_emulator, execution_api):
    create = kernel_emulator.add_fault(Fault("POST", "/invocations", hold=True))

    def act(task):
        running_with_browsers(kernel_emulator)
        task.kill_as_airflow_does()
        create.release()

    run("invoke", act)
    assert_cancelled(kernel_emulator, execution_api)
    assert len(kernel_emulator.requests("POST", "/invocations")) == 1
    # Whoever cleans up behind a killed task finds the id where it always is.
    assert execution_api.xcoms["invocation_id"] == kernel_emulator.invocations[0].id


def test_kill_in_a_create_request_without_an_answer_cancels(run, kernel_emulator, execution_api):
    """The invocation is looked for in Kernel's list, while the main thread and the request still wait."""
    create = kernel_emulator.add_fault(Fault("POST", "/invocations", hold=True))

    def act(task):
        running_with_browsers(kernel_emulator)
        task.kill_as_airflow_does()
        kernel_emulator.wait_for("DELETE", "/invocations/*/browsers")
        create.release()

    run("invoke", act)
    assert_cancelled(kernel_emulator, execution_api)


def test_kill_before_a_retry_of_the_create_starts_nothing(run, kernel_emulator, execution_api):
    """Kernel says "not now"; a killed task makes no further attempt."""
    kernel_emulator.add_fault(Fault("POST", "/invocations", nth=None, status=429, headers={"Retry-After": "60"}))

    def act(task):
        kernel_emulator.wait_for("POST", "/invocations", timeout=30)
        task.kill_as_airflow_does()

    run("invoke", act)
    assert kernel_emulator.invocations == ()
    assert execution_api.final_state == "failed"
    assert len(kernel_emulator.requests("POST", "/invocations")) == 1


@pytest.mark.parametrize("kind", ["error", "refuse", "hang"])
def test_kill_while_kernel_is_down_for_seconds_cancels(kind, run, kernel_emulator, execution_api):
    """F2: the end is bounded by the time that is left, not by attempts."""

    def act(task):
        running_with_browsers(kernel_emulator)
        kernel_emulator.outage(kind, seconds=2.5)
        task.kill_as_airflow_does()

    run("invoke", act)
    assert_cancelled(kernel_emulator, execution_api)


def test_sigterm_while_kernel_is_down_cancels_as_long_as_the_process_lives(run, kernel_emulator, execution_api):
    """A pod that is evicted has 30 s: the end that failed in the signal handler is ordered anew."""

    def act(task):
        running_with_browsers(kernel_emulator)
        kernel_emulator.outage("error", seconds=KILL_SECONDS + 2)
        task.terminate()

    run("invoke", act)
    assert_cancelled(kernel_emulator, execution_api)


def another_try_has_reconnected(api):
    api.xcoms["kernel_invocation_owner"]["try_number"] = 2


def next_try_has_begun(api):
    del api.xcoms["kernel_invocation_owner"]


def next_try_is_scheduled(api):
    api.task_state = "up_for_retry"


@pytest.mark.needs_airflow("3.3", "before, no try knows of another")
@pytest.mark.parametrize(
    "meanwhile", [another_try_has_reconnected, next_try_has_begun, next_try_is_scheduled], ids=lambda f: f.__name__
)
def test_kill_of_an_old_process_leaves_the_invocation_to_the_next_try(
    meanwhile, run, kernel_emulator, execution_api
):
    """F1: the process was stopped past its heartbeat timeout, and gets its SIGTERM when it comes back."""

    def act(task):
        running_with_browsers(kernel_emulator)
        kernel_emulator.wait_for("GET", "/invocations/*", timeout=30)  # all is recorded before the first poll
        meanwhile(execution_api)
        task.kill_as_airflow_does()

    run("invoke", act)
    (invocation,) = kernel_emulator.invocations
    assert (invocation.status, invocation.browsers) == ("running", 2)
    assert kernel_emulator.requests("PATCH") == ()
    assert not execution_api.store["kernel_invocation"]["is_closed"]
    assert execution_api.final_state == "failed"


@pytest.mark.needs_airflow("3.3", "before, no try knows of another")
@pytest.mark.parametrize("is_old", [False, True])
def test_kill_before_there_is_an_ownership_record_goes_by_the_ledger(is_old, run, kernel_emulator, execution_api):
    """The store does not show it to an old process: Airflow has given the task instance another id."""
    create = kernel_emulator.add_fault(Fault("POST", "/invocations", hold=True))
    was_asked = threading.Event()

    def note(method, path):
        if method == "GET" and path.startswith("/store/"):
            was_asked.set()

    def act(task):
        kernel_emulator.wait_for("POST", "/invocations", timeout=30)
        execution_api.is_old = is_old
        execution_api.after = note
        task.kill_as_airflow_does()
        assert was_asked.wait(30)
        create.release()

    run("invoke", act)
    (invocation,) = kernel_emulator.invocations
    assert invocation.status == ("running" if is_old else "failed")
    assert not is_old or "kernel_invocation_owner" not in execution_api.xcoms


def test_kill_without_cancel_on_kill_leaves_the_invocation(run, kernel_emulator, execution_api):
    def act(task):
        running_with_browsers(kernel_emulator)
        task.kill_as_airflow_does()

    run("keep", act)
    (invocation,) = kernel_emulator.invocations
    assert invocation.status == "running"
    assert invocation.browsers == 2
    assert execution_api.final_state == "failed"


def test_kill_that_comes_with_the_result_does_not_end_in_success(run, kernel_emulator, execution_api):
    """The invocation succeeds while the signal is on its way: its result stays, but the task was killed."""
    poll = kernel_emulator.add_fault(Fault("GET", "/invocations/*", nth=1, hold=True))

    def act(task):
        invocation_id = running_with_browsers(kernel_emulator)
        kernel_emulator.wait_for("GET", "/invocations/*", timeout=30)
        kernel_emulator.finish(invocation_id, output={"bought": 1})
        task.kill_as_airflow_does()
        kernel_emulator.wait_for("GET", "/invocations/*", count=2)  # the cancel's look
        poll.release()

    run("invoke", act)
    (invocation,) = kernel_emulator.invocations
    assert invocation.status == "succeeded"
    assert kernel_emulator.requests("PATCH") == ()
    assert execution_api.final_state == "failed"
