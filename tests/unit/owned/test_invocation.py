"""The invocation that a task owns: what it is marked with, and how a lost start is told from its equals."""

import pytest
from airflow.sdk import literal

from airflow_provider_kernel.client.errors import KernelAmbiguousStartError, KernelInputError
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.operators.invocation import KernelInvokeOperator
from airflow_provider_kernel.testing import Fault

HANG = {
    "app_name": "demo",
    "action_name": "hang",
    "payload": {"tickets": 2},
    "poll_interval": 0.01,
    "stream_logs": False,
}


@pytest.fixture(autouse=True)
def no_time_is_lost(monkeypatch):
    monkeypatch.setattr("airflow_provider_kernel.owned.invocation.OwnedInvocation.listing_lag_seconds", 0.0)


def test_lost_start_that_may_be_one_of_two_names_both(run, kernel_emulator):
    like_it = {"app_name": "demo", "action_name": "hang", "version": "latest", "payload": '{"tickets": 2}'}
    found = [{"id": name, "status": "running", **like_it} for name in ("one", "two")]
    kernel_emulator.add_fault(Fault("POST", "/invocations", drop="after"))
    kernel_emulator.add_fault(Fault("GET", "/invocations", body=found))
    result = run(KernelInvokeOperator, **HANG)
    assert result.state == "failed"
    assert isinstance(result.error.kernel_error, KernelAmbiguousStartError)
    assert "one (running), two (running)" in str(result.error)


@pytest.mark.parametrize(
    "row", [{"id": "one", "status": 5}, {"status": "running"}], ids=["without status", "without id"]
)
def test_lost_start_whose_list_has_a_row_that_cannot_be_read_is_not_started_again(row, run, kernel_emulator):
    kernel_emulator.add_fault(Fault("POST", "/invocations", drop="after"))
    kernel_emulator.add_fault(Fault("GET", "/invocations", nth=(1,), body=[row]))
    result = run(KernelInvokeOperator, **HANG)
    assert result.state == "failed"
    assert isinstance(result.error.kernel_error, KernelAmbiguousStartError)
    assert "cannot be read" in str(result.error)
    assert len(kernel_emulator.requests("POST", "/invocations")) == 1
    # The search at the end of the task could read it.
    assert [invocation.status for invocation in kernel_emulator.invocations] == ["failed"]


def test_mark_tells_the_own_invocation_from_equal_ones(run, kernel_emulator, execution_api):
    with KernelHook() as hook:
        for _ in range(3):
            hook.invoke("demo", "hang", {"tickets": 2})
    kernel_emulator.add_fault(Fault("POST", "/invocations", nth=4, drop="after"))
    run(KernelInvokeOperator, wait_for_completion=False, correlation_key="_airflow", **HANG)
    mine = kernel_emulator.invocation(execution_api.xcoms["invocation_id"])
    assert mine.payload_json["tickets"] == 2
    mark = mine.payload_json["_airflow"]
    assert {name: mark[name] for name in mark if name != "token"} == {
        "dag_id": "d",
        "run_id": "r",
        "task_id": "t",
        "map_index": -1,
        "try_number": 1,
    }
    assert len(kernel_emulator.invocations) == 4


@pytest.mark.parametrize("payload", ["card 4711", [4711], {"_airflow": 4711}], ids=repr)
def test_mark_needs_a_payload_that_can_carry_it(payload, run, kernel_emulator):
    result = run(KernelInvokeOperator, correlation_key="_airflow", **{**HANG, "payload": literal(payload)})
    assert result.state == "failed"
    assert isinstance(result.error.kernel_error, KernelInputError)
    assert "correlation_key='_airflow' needs a payload" in str(result.error)
    assert "4711" not in str(result.error)
    assert kernel_emulator.journal == ()


def test_mark_is_the_payload_where_there_is_none(run, kernel_emulator):
    run(
        KernelInvokeOperator,
        app_name="demo",
        action_name="echo",
        correlation_key="_airflow",
        poll_interval=0.01,
    )
    assert set(kernel_emulator.invocations[0].payload_json) == {"_airflow"}
