"""Real kills of a task process that owes a response to an invocation: it is ended, or left to the next try."""

import threading

import pytest
from support.task_process import run_task

from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle.kill import KILL_SECONDS
from airflow_provider_kernel.testing import Fault


@pytest.fixture
def waiting(kernel_emulator, kernel_connection):
    """An invocation that waits, with a browser open."""
    kernel_emulator.register("demo", "ask", lambda ctx: ctx.create_browser() and ctx.wait())
    with KernelHook() as hook:
        invocation_id = hook.invoke("demo", "ask").id
    kernel_emulator.wait_until(lambda: kernel_emulator.invocation(invocation_id).browsers == 1)
    return invocation_id


class Progress:
    def __init__(self, path):
        self.path = path
        path.touch()

    def wait(self):
        import time

        deadline = time.monotonic() + 30
        while "working" not in self.path.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def progress(tmp_path, monkeypatch):
    progress = Progress(tmp_path / "progress")
    monkeypatch.setenv("TELL", str(progress.path))
    return progress


@pytest.fixture
def run(execution_api, waiting):
    execution_api.conf = {"kernel_invocation_id": waiting}

    def run(task_id, **options):
        run_task(execution_api, task_id, dag_id="answer", file="answer.py", **options)

    return run


@pytest.fixture
def killed(run, progress, execution_api, kernel_emulator, waiting):
    """Set the task's state, kill its process while the function runs, and return the invocation afterwards."""

    def killed(task_id, *, state, max_tries=0):
        execution_api.max_tries = max_tries

        def act(task):
            progress.wait()
            execution_api.task_state = state
            task.kill_as_airflow_does()

        run(task_id, act=act)
        return kernel_emulator.invocation(waiting)

    return killed


@pytest.mark.parametrize(
    ("task_id", "max_tries", "state", "reason"),
    [
        # A function that never returns lives to the end of Airflow's five seconds.
        ("stuck", 0, "failed", "The Airflow task was marked as failed"),
        ("checks", 3, "failed", "The Airflow task was marked as failed"),
        ("returns_after_the_kill", 0, "failed", "The Airflow task was marked as failed"),
        (
            "returns_after_the_kill",
            3,
            "success",
            "The Airflow task was marked as success by hand, so that there is no output",
        ),
        ("checks", 0, None, "The Airflow task does not exist any more"),
    ],
)
def test_kill_of_the_last_try_ends_the_waiting_invocation(task_id, max_tries, state, reason, killed, execution_api):
    invocation = killed(task_id, state=state, max_tries=max_tries)
    assert invocation.status == "failed"
    assert invocation.output_json == {"error": reason}
    assert invocation.browsers == 0
    assert execution_api.final_state != "success"


@pytest.mark.parametrize(
    ("task_id", "state", "max_tries"),
    [
        ("stuck", "restarting", 0),
        ("checks", "restarting", 3),
        ("returns_after_the_kill", "restarting", 0),
        ("returns_after_the_kill", "running", 3),
        ("checks", "running", 3),
    ],
)
def test_kill_leaves_the_waiting_invocation_to_the_next_try(
    task_id, state, max_tries, killed, run, execution_api, kernel_emulator, progress
):
    invocation = killed(task_id, state=state, max_tries=max_tries)
    assert invocation.status == "running"
    assert kernel_emulator.requests("PATCH") == ()
    assert execution_api.final_state != "success"
    execution_api.task_state = "running"
    run("answers", try_number=2)
    assert kernel_emulator.invocation(invocation.id).output_json == {"orders": 42}


def test_kill_of_a_last_try_that_comes_back_leaves_the_waiting_invocation_to_the_new_try(
    run, progress, execution_api, kernel_emulator, waiting
):
    """F1: the task was cleared while this process was stopped, and its new try works for the invocation."""

    def act(task):
        progress.wait()
        execution_api.xcoms["kernel_response_owner"]["try_number"] = 2
        task.kill_as_airflow_does()

    run("stuck", act=act)
    assert kernel_emulator.invocation(waiting).status == "running"
    run("answers", try_number=2)
    assert kernel_emulator.invocation(waiting).output_json == {"orders": 42}


def test_kill_while_kernel_is_down_for_seconds_ends_the_waiting_invocation(
    run, progress, execution_api, kernel_emulator, waiting
):
    """F2."""

    def act(task):
        progress.wait()
        kernel_emulator.outage("error", seconds=2.5)
        execution_api.task_state = "failed"
        task.kill_as_airflow_does()

    run("stuck", act=act)
    assert kernel_emulator.invocation(waiting).output_json == {"error": "The Airflow task was marked as failed"}


def test_sigterm_while_kernel_is_down_ends_the_waiting_invocation_as_long_as_the_process_lives(
    run, progress, execution_api, kernel_emulator, waiting
):
    def act(task):
        progress.wait()
        kernel_emulator.outage("error", seconds=KILL_SECONDS + 2)
        execution_api.task_state = "failed"
        task.terminate()

    run("returns_after_the_kill", act=act)
    assert kernel_emulator.invocation(waiting).output_json == {"error": "The Airflow task was marked as failed"}


def test_worker_shutdown_without_retries_ends_the_waiting_invocation(killed):
    invocation = killed("checks", state="running")
    assert (invocation.status, invocation.output_json) == ("failed", {"error": "The Airflow task was killed"})


@pytest.mark.parametrize("max_tries", [0, 3])
def test_kill_ends_the_waiting_invocation_when_airflow_does_not_answer(
    max_tries, run, progress, execution_api, kernel_emulator, waiting
):
    """The main thread waits for a call of Airflow: the kill's own call has to wait for that one."""
    execution_api.max_tries = max_tries
    asked, ended = threading.Event(), threading.Event()

    def hold(method, path):
        if path.endswith("/question"):
            asked.set()
            assert ended.wait(30)

    execution_api.hold = hold

    def act(task):
        assert asked.wait(30)
        try:
            task.kill_as_airflow_does()
            kernel_emulator.wait_for("DELETE", "/invocations/*/browsers")
        finally:
            ended.set()

    run("in_a_round_trip", act=act)
    assert kernel_emulator.invocation(waiting).output_json == {"error": "The Airflow task was killed"}


def test_kill_waits_for_the_response_in_flight(run, progress, execution_api, kernel_emulator, waiting):
    kernel_emulator.switches.patch_on_finished = "overwrite"
    # Only a response that takes effect late can be overtaken: the delay is before the processing.
    late = kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", delay=0.7))

    def act(task):
        kernel_emulator.wait_for("PATCH", "/invocations/*", timeout=30)
        execution_api.task_state = "failed"
        task.kill_as_airflow_does()

    run("answers", act=act)
    assert late
    invocation = kernel_emulator.invocation(waiting)
    assert (invocation.status, invocation.output_json) == ("succeeded", {"orders": 42})
    assert len(kernel_emulator.requests("PATCH")) == 1


def test_crash_leaves_the_waiting_invocation_to_the_next_try(
    run, progress, execution_api, kernel_emulator, waiting
):
    def act(task):
        progress.wait()
        task.die()

    execution_api.max_tries = 1
    run("stuck", act=act)
    assert kernel_emulator.invocation(waiting).status == "running"
    run("answers", try_number=2)
    assert kernel_emulator.invocation(waiting).output_json == {"orders": 42}


def test_retry_after_a_crash_does_not_run_the_function_again_once_it_has_responded(
    run, progress, execution_api, kernel_emulator, waiting
):
    in_xcom, dead = threading.Event(), threading.Event()

    def hold(method, path):
        if path.endswith("/return_value"):
            in_xcom.set()
            assert dead.wait(30)

    def act(task):
        assert in_xcom.wait(30)
        task.die()
        dead.set()

    execution_api.max_tries = 1
    execution_api.hold = hold
    run("answers", act=act)
    execution_api.hold = lambda method, path: None
    execution_api.states.clear()
    run("answers", try_number=2)
    assert execution_api.final_state == "success"
    assert execution_api.xcoms["return_value"] == {"orders": 42}
    assert progress.path.read_text() == "working\n"


def test_kill_ends_the_waiting_invocation_when_kernel_does_not_answer_reads(
    run, progress, execution_api, kernel_emulator, waiting
):
    def act(task):
        progress.wait()
        kernel_emulator.add_fault(Fault("GET", "/invocations/*", nth=None, hold=True))
        execution_api.task_state = "failed"
        task.kill_as_airflow_does()

    run("stuck", act=act)
    assert kernel_emulator.invocation(waiting).status == "failed"
