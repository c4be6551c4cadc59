"""The safety net callback: it ends what the tasks of a DAG run own and what still runs when the run is over."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import structlog
from support.dag_callbacks import XComs, answer_from, leave_seconds, new_dag, ownership

from airflow_provider_kernel.callbacks import cancel_kernel_invocations, kernel_safety_net
from airflow_provider_kernel.client.http.pagination import PAGE_SIZE
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.operators.invocation import (
    KernelCompleteInvocationOperator,
    KernelInvokeOperator,
)
from airflow_provider_kernel.testing import Fault, KernelEmulator

INVOKE = {"app_name": "demo", "action_name": "browsers"}
#: Longer than all the attempts of one request.
OUTAGE_SECONDS = 12.0
FAILED, SUCCEEDED = "task_failure", "success"


@pytest.fixture
def started(kernel_emulator, kernel_connection):
    def start(conn_id=kernel_connection, emulator=kernel_emulator):
        with KernelHook(conn_id) as hook:
            invocation_id = hook.invoke("demo", "browsers", {"count": 1, "seconds": 600}).id
        emulator.wait_until(lambda: emulator.invocation(invocation_id).browsers == 1)
        return invocation_id

    return start


@pytest.fixture
def call_back(monkeypatch, kernel_connection):
    """Let the run be over; the tasks have written these ownership records."""
    leave_seconds(monkeypatch, 30)

    def call_back(records, reason=FAILED, **answers):
        with new_dag() as dag:
            KernelInvokeOperator(task_id="one", **INVOKE)
            KernelInvokeOperator.partial(task_id="mapped", **INVOKE).expand(payload=[1, 2, 3])
            KernelInvokeOperator(task_id="templated", kernel_conn_id="{{ var.value.conn }}", **INVOKE)
            KernelCompleteInvocationOperator(task_id="of_others", invocation_id="x")
        xcoms = XComs(records, **answers)
        answer_from(monkeypatch, xcoms)
        cancel_kernel_invocations({"dag": dag, "run_id": "r", "reason": reason})
        return xcoms

    return call_back


@pytest.fixture
def other_kernel(monkeypatch):
    with KernelEmulator() as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_OTHER", emulator.airflow_connection)
        yield emulator


def statuses(kernel):
    return [(invocation.status, invocation.browsers) for invocation in kernel.invocations]


@pytest.mark.parametrize(
    ("reason", "output"),
    [
        (FAILED, "The Airflow DAG run failed"),
        ("timed_out", "The Airflow DAG run failed"),
        (SUCCEEDED, "Its Airflow DAG run is over"),
    ],
)
def test_safety_net_ends_the_invocations_of_every_task_also_of_mapped_ones(
    reason, output, started, call_back, kernel_emulator
):
    call_back({"one": [ownership(started())], "mapped": [ownership(started()), ownership(started())]}, reason)
    assert statuses(kernel_emulator) == [("failed", 0)] * 3
    assert kernel_emulator.invocations[0].output_json == {"error": output}


@pytest.mark.parametrize("reason", [FAILED, SUCCEEDED])
def test_safety_net_leaves_an_invocation_that_has_ended(reason, started, call_back, kernel_emulator):
    invocation_id = started()
    kernel_emulator.finish(invocation_id, output=1)
    call_back({"one": [ownership(invocation_id)]}, reason)
    assert kernel_emulator.requests("PATCH") == ()
    assert kernel_emulator.requests("DELETE") == ()


@pytest.mark.parametrize("reason", [FAILED, SUCCEEDED])
@pytest.mark.parametrize("task_id", ["one", "mapped"])
def test_safety_net_leaves_an_invocation_that_its_record_says_is_not_owned(
    reason, task_id, started, call_back, kernel_emulator
):
    call_back({task_id: [ownership(started(), is_owned=False)]}, reason)
    assert statuses(kernel_emulator) == [("running", 1)]


def test_safety_net_asks_only_for_the_records_of_tasks_that_may_own_something(call_back):
    assert call_back({}).asked == ["one", "mapped", "templated"]


def test_safety_net_uses_the_rendered_connection_of_each_record(started, call_back, kernel_emulator, other_kernel):
    here, there = started(), started("other", other_kernel)
    call_back({"one": [ownership(here)], "templated": [ownership(there, kernel_conn_id="other")]})
    assert statuses(kernel_emulator) == statuses(other_kernel) == [("failed", 0)]


@pytest.mark.parametrize("reason", [FAILED, SUCCEEDED])
def test_safety_net_goes_on_when_one_connection_does_not_exist(reason, started, call_back, kernel_emulator, caplog):
    call_back({"one": [ownership("lost", kernel_conn_id="gone")], "mapped": [ownership(started())]}, reason)
    assert statuses(kernel_emulator) == [("failed", 0)]
    assert "Invocation lost could not be ended: There is no Airflow connection 'gone'" in caplog.text
    assert "Next in line: the sweep" in caplog.text


def test_safety_net_goes_on_when_the_records_of_a_task_cannot_be_read(started, call_back, kernel_emulator, caplog):
    call_back({"one": None, "mapped": ["garbage", {}, ownership(started())]})
    assert statuses(kernel_emulator) == [("failed", 0)]
    assert "What task one owns cannot be read from XCom: the API server does not answer" in caplog.text


def test_safety_net_logs_a_record_that_it_cannot_read_and_goes_on(started, call_back, kernel_emulator, caplog):
    call_back({"mapped": [{"of": "another version"}, ownership(started())]})
    assert statuses(kernel_emulator) == [("failed", 0)]
    assert "1 of 2 ownership records of task mapped in run r cannot be read" in caplog.text


def test_safety_net_ends_the_other_invocations_when_one_cannot_be_ended(
    started, call_back, kernel_emulator, caplog, monkeypatch
):
    first, second = started(), started()
    leave_seconds(monkeypatch, 1)
    kernel_emulator.add_fault(Fault("PATCH", f"/invocations/{first}", nth=None, status=400))
    call_back({"one": [ownership(first), ownership(second), ownership("nonexistent")]})
    assert kernel_emulator.invocation(first).status == "running"
    assert kernel_emulator.invocation(second).status == "failed"
    assert f"Invocation {first} could not be ended: " in caplog.text
    assert "Invocation nonexistent does not exist any more" in caplog.text


@pytest.mark.parametrize("reason", [FAILED, SUCCEEDED])
def test_safety_net_sends_no_request_for_a_run_that_started_nothing(reason, call_back, kernel_emulator):
    call_back({"one": [ownership(None)]}, reason)
    assert kernel_emulator.journal == ()


@pytest.mark.parametrize("reason", [FAILED, SUCCEEDED])
@pytest.mark.parametrize("state", ["running", "deferred", "queued", "scheduled", "up_for_retry", "restarting"])
def test_safety_net_that_comes_late_leaves_a_task_that_was_cleared_and_runs_again(
    state, reason, started, call_back, kernel_emulator
):
    records = {"one": [ownership(started())], "mapped": [ownership(started())], "templated": [ownership(started())]}
    call_back(
        records, reason, states={"one": state, "mapped_0": "success", "mapped_1": state, "templated": "failed"}
    )
    assert statuses(kernel_emulator) == [("running", 1), ("running", 1), ("failed", 0)]


def test_safety_net_ends_what_tasks_own_when_their_states_cannot_be_fetched(
    started, call_back, kernel_emulator, caplog
):
    call_back({"one": [ownership(started())]}, states=None)
    assert statuses(kernel_emulator) == [("failed", 0)]
    assert "Whether tasks of run r go on cannot be fetched" in caplog.text


@pytest.mark.parametrize("reason", [FAILED, SUCCEEDED])
@pytest.mark.parametrize("state", ["removed", "failed"])
@pytest.mark.parametrize("names", [["gone"], ["gone_0"], ["gone_0", "gone_7"]], ids=str)
def test_safety_net_ends_what_a_task_owns_that_the_dag_has_no_more(
    names, state, reason, started, call_back, kernel_emulator
):
    task_id = "gone" if len(names) > 1 else names[0]
    call_back({task_id: [ownership(started()) for _ in names]}, reason, states=dict.fromkeys(names, state))
    assert statuses(kernel_emulator) == [("failed", 0)] * len(names)


def test_safety_net_ends_what_a_task_owns_whose_operator_was_replaced(started, call_back, kernel_emulator):
    call_back({"of_others": [ownership(started())]}, states={"of_others": "failed"})
    assert statuses(kernel_emulator) == [("failed", 0)]


def test_safety_net_asks_for_no_records_of_former_tasks_that_ended_well(call_back):
    states = {"gone": "success", "of_others": "skipped", "other_0": "success", "mapped_0": "failed"}
    assert call_back({}, states=states).asked == ["one", "mapped", "templated"]


# --- a good run -----------------------------------------------------------------------------------------------


def test_safety_net_pays_two_list_requests_for_a_good_run_and_none_for_each_invocation(
    started, call_back, kernel_emulator
):
    ids = [started() for _ in range(5)]
    for invocation_id in ids:
        kernel_emulator.finish(invocation_id, output=1)
    before = len(kernel_emulator.journal)
    call_back({"mapped": [ownership(invocation_id) for invocation_id in ids]}, SUCCEEDED)
    assert [(r.method, r.path) for r in kernel_emulator.journal[before:]] == [("GET", "/invocations")] * 2


def test_safety_net_leaves_the_invocations_of_others_in_a_good_run(started, call_back, kernel_emulator):
    ours = started()
    started()
    call_back({"one": [ownership(ours)]}, SUCCEEDED)
    assert statuses(kernel_emulator) == [("failed", 0), ("running", 1)]


def test_safety_net_fetches_each_invocation_of_a_good_run_when_the_list_cannot_be_fetched(
    started, call_back, kernel_emulator
):
    active, over = started(), started()
    kernel_emulator.finish(over, output=1)
    kernel_emulator.add_fault(Fault("GET", "/invocations", nth=None, status=500))
    call_back({"one": [ownership(active), ownership(over)]}, SUCCEEDED)
    assert kernel_emulator.invocation(active).status == "failed"
    assert kernel_emulator.invocation(over).status == "succeeded"


def test_safety_net_of_a_good_run_finds_an_invocation_whose_row_shifts_between_two_pages(
    started, call_back, kernel_emulator
):
    ours = started()
    with KernelHook("kernel_default") as hook:
        others = [hook.invoke("demo", "hang").id for _ in range(PAGE_SIZE)]
        # The second list, of what runs: ours is the one row of its second page.
        first_page = kernel_emulator.add_fault(Fault("GET", "/invocations", nth=2, hold=True))
        with ThreadPoolExecutor() as threads:
            call = threads.submit(call_back, {"one": [ownership(ours)]}, SUCCEEDED)
            first_page.wait_until_held()
            kernel_emulator.finish(others[-1], output=1)
            first_page.release()
            call.result(30)
    assert kernel_emulator.invocation(ours).status == "failed"
    assert [kernel_emulator.invocation(other).status for other in others[:-1]] == ["running"] * (PAGE_SIZE - 1)


# --- outages --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "seconds", "reason"),
    [("error", 4, FAILED), ("refuse", OUTAGE_SECONDS, FAILED), ("hang", 4, FAILED), ("refuse", 4, SUCCEEDED)],
)
def test_safety_net_goes_on_until_an_outage_is_over(
    kind, seconds, reason, started, call_back, kernel_emulator, caplog
):
    records = [ownership(started()) for _ in range(3)]
    kernel_emulator.outage(kind, seconds=seconds)
    call_back({"mapped": records}, reason)
    assert statuses(kernel_emulator) == [("failed", 0)] * 3
    assert "could not be ended yet" in caplog.text


def test_safety_net_stops_ten_seconds_before_airflow_would_kill_its_process(
    started, call_back, kernel_emulator, caplog, monkeypatch
):
    records = [ownership(started()) for _ in range(2)]
    leave_seconds(monkeypatch, 2)
    began = time.monotonic()
    with kernel_emulator.outage("error"):
        call_back({"mapped": records})
    assert 1.0 < time.monotonic() - began < 5.0
    assert caplog.text.count("Next in line: the sweep, if a DAG runs it; else Kernel's own time limit") == 2


@pytest.mark.parametrize("kind", ["error", "hang"])
def test_safety_net_tries_once_when_no_time_is_left(kind, started, call_back, kernel_emulator, caplog, monkeypatch):
    records = [ownership(started()) for _ in range(2)]
    leave_seconds(monkeypatch, -5)
    before = len(kernel_emulator.journal)
    began = time.monotonic()
    with kernel_emulator.outage(kind):
        call_back({"mapped": records})
    assert time.monotonic() - began < 5.0
    assert len(kernel_emulator.journal) - before == 2
    assert caplog.text.count("could not be ended: ") == 2


def test_safety_net_tries_all_invocations_at_once(started, call_back, kernel_emulator):
    records = [ownership(started()) for _ in range(8)]
    for record in records:
        kernel_emulator.add_fault(Fault("GET", f"/invocations/{record['external_id']}", delay=1.0))
    began = time.monotonic()
    call_back({"mapped": records})
    assert time.monotonic() - began < 4.0
    assert statuses(kernel_emulator) == [("failed", 0)] * 8


def test_safety_net_repeats_an_end_that_failed_half_way(started, call_back, kernel_emulator):
    invocation_id = started()
    kernel_emulator.add_fault(Fault("PATCH", f"/invocations/{invocation_id}", nth=(1, 2), status=500))
    call_back({"one": [ownership(invocation_id)]})
    assert statuses(kernel_emulator) == [("failed", 0)]


# --- the callbacks of a DAG -----------------------------------------------------------------------------------


def own(context):
    pass


def another(context):
    pass


@pytest.mark.parametrize(
    ("arguments", "on_failure", "on_success"),
    [
        ({}, [], []),
        ({"on_failure": own}, [own], []),
        ({"on_success": [own, another]}, [], [own, another]),
        ({"on_failure": (another,), "on_success": own}, [another], [own]),
    ],
)
def test_safety_net_comes_before_the_own_callbacks_of_a_dag(arguments, on_failure, on_success):
    dag = new_dag(**kernel_safety_net(**arguments))
    assert dag.on_failure_callback == [cancel_kernel_invocations, *on_failure]
    assert dag.on_success_callback == [cancel_kernel_invocations, *on_success]
    assert dag.has_on_failure_callback
    assert dag.has_on_success_callback


@pytest.mark.parametrize("is_failure", [True, False])
def test_own_callbacks_of_a_dag_are_called_when_the_safety_net_fails(is_failure, monkeypatch):
    from airflow.callbacks.callback_requests import DagCallbackRequest
    from airflow.dag_processing import processor

    calls = []

    def record(context):
        calls.append(context["reason"])

    dag = new_dag(**kernel_safety_net(on_failure=[record, record], on_success=record))
    monkeypatch.setattr("airflow_provider_kernel.lifecycle.safety_net.end_owned_by_run", lambda *args: 1 / 0)
    request = DagCallbackRequest(
        filepath="d.py",
        dag_id="d",
        run_id="r",
        bundle_name="b",
        bundle_version=None,
        context_from_server=None,
        is_failure_callback=is_failure,
        msg="the reason",
    )
    bag = type("Bag", (), {"dags": {"d": dag}})()
    processor._execute_dag_callbacks(bag, request, structlog.get_logger())
    assert calls == ["the reason"] * (2 if is_failure else 1)
