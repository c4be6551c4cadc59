"""The safety net of a task: it ends what this task instance owns, when no try of it follows."""

import time

import pytest
from airflow.sdk import DAG, BaseOperator
from support.dag_callbacks import XComs, answer_from, leave_seconds, ownership
from support.dag_runs import NOW, kill_task
from support.execution_api import task_instance
from support.in_process import run_task

from airflow_provider_kernel.callbacks import (
    cancel_kernel_invocations,
    cancel_kernel_task_invocation,
    kernel_task_safety_net,
)
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle.names import ownership_key

OVERTIME = "AIRFLOW__CORE__TASK_SUCCESS_OVERTIME"
NEXT_IN_LINE = "Next in line: the DAG's safety net, the sweep, and Kernel's own time limit"


class Errand(BaseOperator):
    """Owns an invocation, and fails."""

    owned_kind = "invocation"

    def execute(self, context):
        raise ValueError("no such page")


class Other(BaseOperator):
    """Owns nothing, and fails."""

    def execute(self, context):
        raise ValueError("no such page")


@pytest.fixture
def invocation(kernel_emulator, kernel_connection):
    with KernelHook() as hook:
        return hook.invoke("demo", "hang").id


@pytest.fixture
def status(kernel_emulator, invocation):
    return lambda: kernel_emulator.invocation(invocation).status


@pytest.fixture
def fail(execution_api, monkeypatch):
    """Let a task fail in its own process; Airflow says that it runs until that has ended."""
    monkeypatch.setenv(OVERTIME, "40")

    def fail(record, *, state="running", try_number=1, map_index=-1, **arguments):
        execution_api.xcoms[ownership_key("invocation")] = record
        execution_api.task_state = state
        execution_api.max_tries, execution_api.try_number = arguments.get("retries", 0), try_number
        task = new_task(map_index, **arguments)
        run_task(
            ti=task_instance(map_index=map_index, try_number=try_number), task=task, client=execution_api.client()
        )

    return fail


@pytest.fixture
def kill(monkeypatch):
    """Let the scheduler find that the worker of a task is lost."""
    leave_seconds(monkeypatch, 30)

    def kill(records, states, *, callback_type="failed", try_number=1, max_tries=0, map_index=-1):
        answer_from(monkeypatch, XComs({"t": records}, states=states))
        dag = new_task(map_index).get_dag()
        tries = {"callback_type": callback_type, "try_number": try_number, "max_tries": max_tries}
        kill_task(dag, "t", {}, map_index=map_index, **tries)

    return kill


def new_task(map_index=-1, operator=Errand, **arguments):
    with DAG("d", schedule=None, start_date=NOW, default_args=kernel_task_safety_net()):
        if map_index < 0:
            return operator(task_id="t", **arguments)
        return operator.partial(task_id="t", **arguments).expand(doc=["a", "b"])


def test_task_that_fails_has_its_invocation_ended_while_airflow_says_that_it_runs(fail, invocation, status):
    fail(ownership(invocation))
    assert status() == "failed"


@pytest.mark.parametrize("state", ["failed", "success", "restarting", "skipped"])
def test_task_that_was_marked_or_cleared_meanwhile_has_its_invocation_ended(state, fail, invocation, status):
    fail(ownership(invocation), state=state)
    assert status() == "failed"


@pytest.mark.parametrize("state", ["up_for_retry", "scheduled", "queued"])
def test_invocation_is_left_to_the_try_that_follows(state, fail, invocation, status):
    fail(ownership(invocation), state=state)
    assert status() == "running"


@pytest.mark.parametrize("state", ["running", "deferred"])
def test_invocation_that_another_try_has_taken_up_goes_on(state, fail, invocation, status):
    fail(ownership(invocation, try_number=2), state=state)
    assert status() == "running"


def test_retry_has_its_invocation_left_alone(fail, invocation, status):
    fail(ownership(invocation), retries=1, on_retry_callback=cancel_kernel_task_invocation)
    assert status() == "running"


def test_last_of_several_tries_has_its_invocation_ended(fail, invocation, status):
    fail(ownership(invocation, try_number=2), retries=1, try_number=2)
    assert status() == "failed"


@pytest.mark.parametrize("record", ["not owned", None, "garbage", {}], ids=str)
def test_task_that_owns_nothing_has_nothing_ended(record, fail, invocation, status, kernel_emulator):
    fail(ownership(invocation, is_owned=False) if record == "not owned" else record)
    assert status() == "running"


def test_task_of_another_kind_costs_no_request(fail, invocation, execution_api):
    fail(ownership(invocation), operator=Other)
    assert not [path for _, path in execution_api.requests if path.startswith(("/xcoms", "/task-instances/states"))]


@pytest.mark.parametrize(("state", "is_ended"), [("failed", True), ("running", True), ("queued", False)])
def test_task_whose_worker_is_lost_has_its_invocation_ended(state, is_ended, kill, invocation, status):
    kill([ownership(invocation)], {"t": state})
    assert status() == ("failed" if is_ended else "running")


def test_task_that_was_queued_for_too_long_has_its_invocation_ended_with_retries_left(kill, invocation, status):
    kill([ownership(invocation)], {"t": "failed"}, callback_type=None, max_tries=2)
    assert status() == "failed"


def test_mapped_task_has_the_invocation_of_its_own_index_ended(kill, invocation, kernel_emulator):
    with KernelHook() as hook:
        other = hook.invoke("demo", "hang").id
    kill([ownership(other), ownership(invocation)], {"t_0": "failed", "t_1": "failed"}, map_index=1)
    assert [kernel_emulator.invocation(each).status for each in (other, invocation)] == ["running", "failed"]


def test_invocation_is_ended_when_airflow_does_not_say_how_the_task_is(kill, invocation, status, caplog):
    kill([ownership(invocation)], None)
    assert status() == "failed"
    assert "Whether task t goes on cannot be fetched" in caplog.text


def test_record_that_cannot_be_read_is_logged_with_who_is_next(kill, invocation, status, caplog):
    kill(None, {"t": "failed"})
    assert status() == "running"
    assert "What task t owns cannot be read from XCom" in caplog.text
    assert NEXT_IN_LINE in caplog.text


def test_end_is_given_up_before_airflow_would_end_the_process_of_the_task(
    fail, invocation, kernel_emulator, monkeypatch, caplog
):
    monkeypatch.setenv(OVERTIME, "12")
    began = time.monotonic()
    with kernel_emulator.outage("error"):
        fail(ownership(invocation))
    assert 1.0 < time.monotonic() - began < 6.0
    assert NEXT_IN_LINE in caplog.text


def test_invocation_that_has_ended_is_left_alone(fail, invocation, kernel_emulator):
    kernel_emulator.finish(invocation, output=1)
    fail(ownership(invocation))
    assert kernel_emulator.requests("PATCH") == ()


def test_own_callbacks_of_a_task_follow_the_net(fail, invocation, status):
    seen = []
    both = kernel_task_safety_net(on_failure=lambda context: seen.append(status()))
    fail(ownership(invocation), **both)
    assert seen == ["failed"]


def test_net_of_the_run_leaves_the_task_that_calls_it_to_the_net_of_the_task(fail, invocation, status):
    fail(ownership(invocation), on_failure_callback=cancel_kernel_invocations)
    assert status() == "running"
