"""The ownership record of KernelInvokeOperator: what DAG callbacks and old processes can read, and when."""

import logging

import pytest

from airflow_provider_kernel.client.errors import KernelTaskKilledError
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle.ledger import Ledger
from airflow_provider_kernel.lifecycle.owner import Owner
from airflow_provider_kernel.lifecycle.ownership import OwnershipRecord
from airflow_provider_kernel.operators.invocation import KernelInvokeOperator

#: Why a test is only of these versions.
REMEMBERS = "before, no try knows of another"
KEY = "kernel_invocation_owner"

HANG = {"app_name": "demo", "action_name": "hang", "poll_interval": 0.01, "stream_logs": False, "deferrable": True}
START = {**HANG, "deferrable": False, "wait_for_completion": False}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr("airflow_provider_kernel.owned.invocation.OwnedInvocation.listing_lag_seconds", 0.0)
    monkeypatch.setattr("airflow_provider_kernel.operators.invocation.FIRST_POLL_SECONDS", 0.0)


class Crash(BaseException):
    """The process is gone: nothing behind this point runs."""


@pytest.fixture
def crash_in(monkeypatch):
    """Run a try that crashes at a step."""

    def crash_in(task, target, name):
        def die(*_, **__):
            raise Crash

        with monkeypatch.context() as patch:
            patch.setattr(target, name, die)
            # What a crash leaves undone.
            patch.setattr(Owner, "end", lambda owner, reason: True)
            patch.setattr(Ledger, "close", lambda ledger, *_, **__: None)
            task.run()
        return task

    return crash_in


@pytest.fixture
def written(execution_api, kernel_emulator):
    """The ownership records that a task writes, each with how many requests Kernel has had by then."""
    written = []

    def after(method, path):
        if method == "POST" and path.endswith(KEY):
            written.append((OwnershipRecord.parse(execution_api.xcoms[KEY]), len(kernel_emulator.journal)))

    execution_api.after = after
    return written


def test_first_try_writes_its_ownership_record_as_soon_as_the_id_is_known(make_task, written, kernel_emulator):
    make_task(KernelInvokeOperator, **HANG, kernel_conn_id="{{ 'kernel_default' }}").run()
    (invocation,) = kernel_emulator.invocations
    ((record, requests),) = written
    assert requests == 1  # the create
    assert record.token
    assert record == OwnershipRecord(invocation.id, record.token, 1, "kernel_default", is_owned=True)


@pytest.mark.needs_airflow("3.3", REMEMBERS)
def test_try_names_what_a_crashed_try_started_before_any_request_to_kernel(
    make_task, crash_in, written, kernel_emulator
):
    first = crash_in(make_task(KernelInvokeOperator, **HANG), KernelHook, "wait_for_invocation")
    (invocation,) = kernel_emulator.invocations
    written.clear()
    before = len(kernel_emulator.journal)
    assert first.next_try().run().state == "deferred"
    ((record, requests),) = written  # one: it is not written twice
    assert requests == before
    assert record == OwnershipRecord(invocation.id, record.token, 2, "kernel_default", is_owned=True)


@pytest.mark.needs_airflow("3.3", REMEMBERS)
def test_second_crash_leaves_an_ownership_record_of_what_the_first_try_started(
    make_task, crash_in, execution_api, kernel_emulator
):
    first = crash_in(make_task(KernelInvokeOperator, **HANG), KernelHook, "wait_for_invocation")
    crash_in(first.next_try(), KernelHook, "get_conn")
    (invocation,) = kernel_emulator.invocations
    assert not invocation.finished
    record = OwnershipRecord.parse(execution_api.xcoms[KEY])
    assert (record.external_id, record.try_number, record.is_owned) == (invocation.id, 2, True)


@pytest.mark.needs_airflow("3.3", REMEMBERS)
def test_try_names_a_start_whose_id_is_unknown_by_its_token(make_task, crash_in, written, execution_api):
    first = crash_in(make_task(KernelInvokeOperator, **HANG), KernelHook, "wait_for_invocation")
    execution_api.store["kernel_invocation"]["external_id"] = None
    written.clear()
    first.next_try().run()
    token = execution_api.store["kernel_invocation"]["token"]
    assert [(record.external_id is None, record.token) for record, _ in written] == [(True, token), (False, token)]


@pytest.mark.needs_airflow("3.3", REMEMBERS)
def test_try_after_a_clear_names_the_new_invocation_in_place_of_the_old_one(
    make_task, crash_in, written, kernel_emulator
):
    first = crash_in(make_task(KernelInvokeOperator, **HANG), KernelHook, "wait_for_invocation")
    written.clear()
    first.next_try(cleared=True).run()
    assert [record.external_id for record, _ in written] == [i.id for i in kernel_emulator.invocations]


def test_start_that_is_not_to_be_awaited_is_not_owned_once_its_id_is_known(make_task, written, kernel_emulator):
    assert make_task(KernelInvokeOperator, **START).run().state == "success"
    assert [(record.external_id is None, record.is_owned) for record, _ in written] == [(False, False)]


@pytest.mark.needs_airflow("3.3", REMEMBERS)
@pytest.mark.parametrize("cleared", [False, True], ids=["crashed", "cleared"])
def test_earlier_start_that_was_not_to_be_awaited_is_owned_unless_its_id_was_returned(
    cleared, make_task, crash_in, written
):
    task = make_task(KernelInvokeOperator, **START)
    if cleared:
        task.run()
    else:
        crash_in(task, KernelInvokeOperator, "show_dashboard")
    written.clear()
    assert task.next_try(cleared=cleared).run().state == "success"
    assert [record.is_owned for record, _ in written] == [not cleared, False]


def test_invocation_without_cancel_on_kill_is_never_owned(make_task, written):
    make_task(KernelInvokeOperator, cancel_on_kill=False, **HANG).run()
    assert [record.is_owned for record, _ in written] == [False]


def test_resumed_task_writes_no_ownership_record(make_task, written, kernel_emulator):
    task = make_task(KernelInvokeOperator, **HANG)
    deferred = task.run()
    kernel_emulator.finish(kernel_emulator.invocations[0].id, output=1)
    written.clear()
    assert task.resume("execute_complete", event=task.trigger_event(deferred)).state == "success"
    assert written == []


def calls(api):
    """The calls that a task makes to Airflow for its invocation, in order."""
    return [
        f"{method} {path.rsplit('/', 1)[-1]}"
        for method, path in api.requests
        if path.startswith(("/store/", "/xcoms/")) and "_link_" not in path and "/return_value" not in path
    ]


@pytest.mark.needs_airflow("3.3", REMEMBERS)
def test_calls_to_airflow_of_a_good_run(make_task, execution_api, kernel_emulator):
    task = make_task(KernelInvokeOperator, **HANG)
    deferred = task.run()
    assert calls(execution_api) == [
        "GET kernel_invocation",
        "PUT kernel_invocation",
        "PUT kernel_invocation",
        f"POST {KEY}",
        "POST invocation_id",
    ]
    kernel_emulator.finish(kernel_emulator.invocations[0].id, output=1)
    event = task.trigger_event(deferred)
    execution_api.requests.clear()
    assert task.resume("execute_complete", event=event).state == "success"
    assert calls(execution_api) == []


@pytest.mark.needs_airflow("3.3", REMEMBERS)
@pytest.mark.parametrize("is_last", [False, True], ids=["tries left", "last try"])
def test_try_that_cannot_write_its_ownership_record_starts_nothing(
    is_last, make_task, crash_in, execution_api, kernel_emulator
):
    def refuse(method, path):
        if method == "POST" and path.endswith(KEY):
            raise ConnectionError("Airflow takes no XCom")

    first = crash_in(make_task(KernelInvokeOperator, max_tries=2, **HANG), KernelHook, "wait_for_invocation")
    again = first.next_try().next_try() if is_last else first.next_try()
    before = len(kernel_emulator.journal)
    execution_api.hold = refuse
    assert again.run().state == ("failed" if is_last else "up_for_retry")
    assert [i.status for i in kernel_emulator.invocations] == ["failed" if is_last else "running"]
    assert is_last or len(kernel_emulator.journal) == before


@pytest.fixture
def leave_to_the_next_try(make_task, execution_api):
    """Make a try after which Airflow has the next one, by this state, when something ends it while it waits."""

    def make(end, state, **arguments):
        class Old(KernelInvokeOperator):
            def sleep(self, seconds):
                execution_api.task_state = state
                if state == "running":  # the next one, which has taken the invocation up
                    execution_api.xcoms[KEY]["try_number"] = 2
                end(self)
                super().sleep(seconds)

        return make_task(Old, **{**HANG, "deferrable": False, **arguments})

    return make


def fail(operator):
    raise RuntimeError("it fails by itself")


@pytest.mark.needs_airflow("3.3", REMEMBERS)
@pytest.mark.parametrize("state", ["up_for_retry", "queued", "running"])
@pytest.mark.parametrize(
    ("end", "error"),
    [(KernelInvokeOperator.on_kill, KernelTaskKilledError), (fail, RuntimeError)],
    ids=["kill", "failure"],
)
def test_process_of_an_earlier_try_leaves_the_invocation_and_its_record_to_the_next_try(
    end, error, state, leave_to_the_next_try, kernel_emulator, execution_api, caplog
):
    caplog.set_level(logging.INFO)
    result = leave_to_the_next_try(end, state).run()
    assert isinstance(result.error, error)
    assert [invocation.status for invocation in kernel_emulator.invocations] == ["running"]
    assert not execution_api.store["kernel_invocation"]["is_closed"]
    assert "Another try of this task owns its invocation" in caplog.text


@pytest.mark.needs_airflow("3.3", REMEMBERS)
@pytest.mark.parametrize("state", ["queued", "running"])
def test_resumed_process_of_an_earlier_try_leaves_the_invocation_to_the_next_try(
    state, make_task, kernel_emulator, execution_api
):
    task = make_task(KernelInvokeOperator, **HANG)
    task.run()
    execution_api.task_state = state
    execution_api.xcoms[KEY]["try_number"] = 2
    task.resume("__fail__", error="Trigger failure")
    assert [invocation.status for invocation in kernel_emulator.invocations] == ["running"]
    assert not execution_api.store["kernel_invocation"]["is_closed"]


def test_process_of_an_earlier_try_ends_its_invocation_where_no_try_takes_over(
    leave_to_the_next_try, kernel_emulator
):
    leave_to_the_next_try(KernelInvokeOperator.on_kill, "up_for_retry", durable=False).run()
    assert [invocation.status for invocation in kernel_emulator.invocations] == ["failed"]
