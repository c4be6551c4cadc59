"""What the next try does with what an earlier one left behind, as far as Airflow 3.3 lets it remember."""

from datetime import timedelta

import pytest

from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle.ledger import Ledger
from airflow_provider_kernel.lifecycle.owner import Owner
from airflow_provider_kernel.operators.invocation import KernelInvokeOperator
from airflow_provider_kernel.owned.invocation import OwnedInvocation
from airflow_provider_kernel.testing import Fault

pytestmark = pytest.mark.needs_airflow("3.3", "before, no try knows of another")

HANG = {"app_name": "demo", "action_name": "hang", "poll_interval": 0.01, "stream_logs": False}


@pytest.fixture
def kernel_refuses_every_end(kernel_emulator):
    """Until the faults are cleared, no request ends an invocation."""
    kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", nth=None, status=400))


@pytest.mark.usefixtures("kernel_refuses_every_end")
@pytest.mark.parametrize("meanwhile", ["runs on", "succeeded"])
def test_next_try_starts_anew_after_a_cancel_that_failed(meanwhile, make_task, kernel_emulator, execution_api):
    def refuse_the_id(method, path):
        if path.endswith("/invocation_id"):
            raise ConnectionError("Airflow takes no XCom")

    execution_api.hold = refuse_the_id
    task = make_task(KernelInvokeOperator, **HANG)
    assert task.run().state == "up_for_retry"
    (first,) = kernel_emulator.invocations
    assert kernel_emulator.requests("PATCH")
    kernel_emulator.clear_faults()
    execution_api.hold = lambda method, path: None
    if meanwhile == "succeeded":
        kernel_emulator.finish(first.id, output="of a try that failed")
    again = task.next_try()
    again.task.deferrable = True
    assert again.run().state == "deferred"
    assert len(kernel_emulator.invocations) == 2
    assert kernel_emulator.invocation(first.id).finished
    assert kernel_emulator.most_active_at_once() == 1


@pytest.mark.usefixtures("kernel_refuses_every_end")
def test_next_try_ends_what_a_try_could_neither_record_nor_end(make_task, kernel_emulator, capfd):
    """The try times out in the create request, and Kernel refuses to end what that started."""
    kernel_emulator.add_fault(Fault("POST", "/invocations", delay_answer=2))
    task = make_task(KernelInvokeOperator, execution_timeout=timedelta(seconds=1), **HANG)
    assert task.run().state == "up_for_retry"
    assert kernel_emulator.requests("PATCH")
    (first,) = kernel_emulator.invocations
    assert f"The task no longer waits for invocation {first.id}" in capfd.readouterr().out
    kernel_emulator.clear_faults()
    again = task.next_try()
    again.task.deferrable, again.task.execution_timeout = True, None
    assert again.run().state == "deferred"
    assert kernel_emulator.invocation(first.id).status == "failed"
    assert kernel_emulator.most_active_at_once() == 1


@pytest.mark.parametrize("faults", ["list is late", "list fails"])
def test_next_try_ends_what_a_killed_try_could_not_find(faults, make_task, kernel_emulator, monkeypatch):
    """The answer to the start got lost, and the kill comes before the list shows what it started."""
    monkeypatch.setattr(OwnedInvocation, "listing_lag_seconds", 1.0)
    kills = [KernelInvokeOperator.on_kill]

    class KilledWhileSearching(KernelInvokeOperator):
        def sleep(self, seconds):
            while kills:
                kills.pop()(self)
            super().sleep(seconds)

    kernel_emulator.add_fault(Fault("POST", "/invocations", drop="after"))
    answer = {"body": []} if faults == "list is late" else {"status": 500}
    kernel_emulator.add_fault(Fault("GET", "/invocations", nth=None, **answer))
    task = make_task(KilledWhileSearching, **HANG)
    task.run()
    (first,) = kernel_emulator.invocations
    assert not first.finished
    kernel_emulator.clear_faults()
    again = task.next_try()
    again.task.deferrable = True
    assert again.run().state == "deferred"
    assert kernel_emulator.invocation(first.id).status == "failed"
    assert kernel_emulator.most_active_at_once() == 1


def test_try_after_an_ambiguous_start_and_a_clear_starts_anew(make_task, kernel_emulator):
    """The error has named what the start may have started: the clear is the user's decision."""
    alike = {"app_name": "demo", "action_name": "hang", "version": "latest", "payload": None}
    kernel_emulator.add_fault(Fault("POST", "/invocations", drop="before"))
    two = [{"id": name, "status": "running", **alike} for name in ("one", "two")]
    kernel_emulator.add_fault(Fault("GET", "/invocations", nth=None, body=two))
    task = make_task(KernelInvokeOperator, **HANG)
    assert task.run().state == "failed"
    again = task.next_try(cleared=True)
    again.task.deferrable = True
    assert again.run().state == "deferred"


@pytest.fixture
def lost_start(make_task, kernel_emulator, kernel_refuses_every_end, execution_api):
    """Run a try whose process is lost between the answer to its start and storing the id."""
    stored = []

    def lose(method, path):
        if method == "PUT" and "/store/" in path:
            stored.append(path)
        if len(stored) > 1:
            raise ConnectionError("nothing of this process reaches Airflow any more")

    execution_api.hold = lose
    task = make_task(KernelInvokeOperator, max_tries=2, **HANG)
    task.run()
    kernel_emulator.clear_faults()
    execution_api.hold = lambda method, path: None
    (first,) = kernel_emulator.invocations
    assert not first.finished
    return task


def test_next_try_polls_a_list_that_lags_for_what_the_crashed_one_started(lost_start, kernel_emulator):
    (first,) = kernel_emulator.invocations
    kernel_emulator.add_fault(Fault("GET", "/invocations", body=[]))
    again = lost_start.next_try()
    again.task.deferrable = True
    result = again.run()
    assert result.state == "deferred"
    assert result.msg.trigger_kwargs["invocation_id"] == first.id
    assert len(kernel_emulator.invocations) == 1


@pytest.fixture
def list_fails(kernel_emulator):
    """Until the faults are cleared, no list of invocations is answered."""

    def fail():
        kernel_emulator.add_fault(Fault("GET", "/invocations", nth=None, status=500))

    return fail


def test_try_that_cannot_list_invocations_leaves_a_crashed_start_to_the_next_try(
    lost_start, list_fails, kernel_emulator
):
    list_fails()
    second = lost_start.next_try()
    assert second.run().state == "up_for_retry"
    kernel_emulator.clear_faults()
    third = second.next_try()
    third.task.deferrable = True
    result = third.run()
    assert result.state == "deferred"
    (first,) = kernel_emulator.invocations
    assert result.msg.trigger_kwargs["invocation_id"] == first.id


def test_try_that_cannot_list_invocations_leaves_a_cleared_start_to_the_next_try(
    lost_start, list_fails, kernel_emulator
):
    list_fails()
    second = lost_start.next_try(cleared=True)
    assert second.run().state == "up_for_retry"
    kernel_emulator.clear_faults()
    third = second.next_try()
    third.task.deferrable = True
    assert third.run().state == "deferred"
    assert kernel_emulator.invocations[0].status == "failed"
    assert kernel_emulator.most_active_at_once() == 1


def test_try_killed_while_it_searches_for_a_crashed_start_leaves_it_to_the_next_try(
    lost_start, list_fails, kernel_emulator, monkeypatch
):
    def kill(operator, seconds):
        operator.on_kill()
        operator._run.sleep(seconds)

    list_fails()
    second = lost_start.next_try()
    with monkeypatch.context() as patch:
        patch.setattr(KernelInvokeOperator, "sleep", kill)
        second.run()
    kernel_emulator.clear_faults()
    third = second.next_try()
    third.task.deferrable = True
    assert third.run().state == "deferred"
    assert kernel_emulator.invocations[0].status == "failed"
    assert kernel_emulator.most_active_at_once() == 1


def test_next_try_ends_what_a_start_that_was_not_to_be_awaited_left_unknown(make_task, list_fails, kernel_emulator):
    kernel_emulator.add_fault(Fault("POST", "/invocations", drop="after"))
    list_fails()
    task = make_task(KernelInvokeOperator, wait_for_completion=False, **HANG)
    assert task.run().state == "up_for_retry"
    kernel_emulator.clear_faults()
    assert task.next_try().run().state == "success"
    assert kernel_emulator.invocations[0].status == "failed"
    assert kernel_emulator.most_active_at_once() == 1


@pytest.fixture
def crashed(make_task, kernel_emulator, monkeypatch):
    """Run a try that crashes while it waits, and knows the id of its invocation."""

    class Crash(BaseException):
        """The process is gone: nothing behind this point runs."""

    def die(*_, **__):
        raise Crash

    task = make_task(KernelInvokeOperator, max_tries=2, **HANG)
    with monkeypatch.context() as patch:
        patch.setattr(KernelHook, "wait_for_invocation", die)
        # What a crash leaves undone.
        patch.setattr(Owner, "end", lambda owner, reason: True)
        patch.setattr(Ledger, "close", lambda ledger, *_, **__: None)
        task.run()
    return task


@pytest.fixture
def fetch_fails(kernel_emulator, monkeypatch):
    """Until the faults are cleared, no invocation can be fetched, for longer than a try waits for that."""

    def fail(status=500):
        monkeypatch.setattr(OwnedInvocation, "lifetime_seconds", 0.0)
        kernel_emulator.add_fault(Fault("GET", "/invocations/*", nth=None, status=status))

    return fail


def test_try_that_cannot_fetch_what_a_crashed_one_started_leaves_its_record_as_it_was(
    crashed, fetch_fails, kernel_emulator, execution_api
):
    before = dict(execution_api.store["kernel_invocation"])
    fetch_fails()
    second = crashed.next_try()
    assert second.run().state == "up_for_retry"
    assert execution_api.store["kernel_invocation"] == before
    assert kernel_emulator.requests("PATCH") == ()
    kernel_emulator.clear_faults()
    kernel_emulator.finish(kernel_emulator.invocations[0].id, output="of the first try")
    assert second.next_try().run().state == "success"
    assert execution_api.xcoms["return_value"] == "of the first try"
    assert len(kernel_emulator.invocations) == 1


def test_404_of_a_proxy_does_not_say_that_a_crashed_try_started_nothing(crashed, kernel_emulator, execution_api):
    kernel_emulator.add_fault(Fault("GET", "/invocations/*", nth=1, status=404, body="<h1>no route</h1>"))
    kernel_emulator.finish(kernel_emulator.invocations[0].id, output="of the first try")
    assert crashed.next_try().run().state == "success"
    assert execution_api.xcoms["return_value"] == "of the first try"
    assert len(kernel_emulator.invocations) == 1


def test_try_whose_record_cannot_be_stored_leaves_what_a_crashed_one_started_to_the_next_try(
    crashed, kernel_emulator, execution_api
):
    def refuse_the_record(method, path):
        if method == "PUT" and "/store/" in path:
            raise ConnectionError("Airflow stores nothing")

    execution_api.hold = refuse_the_record
    second = crashed.next_try()
    assert second.run().state == "up_for_retry"
    assert kernel_emulator.requests("PATCH") == ()
    execution_api.hold = lambda method, path: None
    kernel_emulator.finish(kernel_emulator.invocations[0].id, output="of the first try")
    assert second.next_try().run().state == "success"
    assert execution_api.xcoms["return_value"] == "of the first try"


def test_last_try_that_cannot_fetch_what_a_crashed_one_started_for_an_hour_ends_it(
    crashed, fetch_fails, kernel_emulator
):
    fetch_fails()
    assert crashed.next_try().next_try().run().state == "failed"
    assert [invocation.status for invocation in kernel_emulator.invocations] == ["failed"]


def test_last_try_gets_through_an_outage_to_what_a_crashed_one_started(crashed, kernel_emulator, execution_api):
    kernel_emulator.finish(kernel_emulator.invocations[0].id, output="of the first try")
    kernel_emulator.add_fault(Fault("GET", "/invocations/*", status=501))
    assert crashed.next_try().next_try().run().state == "success"
    assert execution_api.xcoms["return_value"] == "of the first try"


@pytest.mark.usefixtures("refused_key_ends_waits_soon")
@pytest.mark.parametrize("tries", [1, 2], ids=["tries left", "none left"])
def test_try_whose_key_is_refused_leaves_what_a_crashed_one_started(crashed, kernel_emulator, tries):
    kernel_emulator.add_fault(Fault("GET", "/invocations/*", nth=None, status=403))
    task = crashed.next_try() if tries == 1 else crashed.next_try().next_try()
    assert task.run().state == ("up_for_retry" if tries == 1 else "failed")
    assert kernel_emulator.requests("PATCH") == ()
    assert not kernel_emulator.invocations[0].finished


def test_last_try_ends_what_a_crashed_start_left_without_an_id(
    lost_start, list_fails, kernel_emulator, monkeypatch
):
    list_fails()
    last = lost_start.next_try().next_try()
    monkeypatch.setattr(Owner, "end", _after(kernel_emulator.clear_faults, Owner.end))
    assert last.run().state == "failed"
    assert [invocation.status for invocation in kernel_emulator.invocations] == ["failed"]


@pytest.mark.parametrize("payload", [timedelta(1), float("nan"), "{{ none }}"], ids=repr)
def test_last_try_whose_arguments_cannot_work_ends_what_a_crashed_one_started(payload, crashed, kernel_emulator):
    second = crashed.next_try()
    second.task.payload = {"when": payload}
    assert second.run().state == "failed"
    assert [invocation.status for invocation in kernel_emulator.invocations] == ["failed"]


def _after(act, function):
    def call(*arguments):
        act()
        return function(*arguments)

    return call


@pytest.mark.parametrize("crashed_before", [True, False], ids=["open record", "end failed"])
def test_try_that_cannot_end_what_a_cleared_one_started_leaves_that_to_the_next_try(
    crashed_before, crashed, kernel_emulator, execution_api
):
    if not crashed_before:
        execution_api.store["kernel_invocation"] |= {"is_closed": True, "may_run_on": True}
    before = dict(execution_api.store["kernel_invocation"])
    kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", nth=None, status=500))
    second = crashed.next_try(cleared=True)
    assert second.run().state == "up_for_retry"
    assert execution_api.store["kernel_invocation"] == before
    assert len(kernel_emulator.invocations) == 1
    kernel_emulator.clear_faults()
    third = second.next_try()
    third.task.deferrable = True
    assert third.run().state == "deferred"
    assert kernel_emulator.invocations[0].status == "failed"
    assert kernel_emulator.most_active_at_once() == 1


@pytest.mark.parametrize("cleared", [False, True], ids=["after a crash", "after a clear"])
def test_kill_while_an_earlier_invocation_is_fetched_ends_it_at_once(
    cleared, crashed, kernel_emulator, monkeypatch
):
    killed = []

    def kill(operator, seconds):
        operator.on_kill()
        killed.extend(invocation.status for invocation in kernel_emulator.invocations)
        operator._run.sleep(seconds)

    kernel_emulator.add_fault(Fault("GET", "/invocations/*", status=500))
    monkeypatch.setattr(KernelInvokeOperator, "sleep", kill)
    assert crashed.next_try(cleared=cleared).run().state == "up_for_retry"
    assert killed == ["failed"]
    assert len(kernel_emulator.invocations) == 1
