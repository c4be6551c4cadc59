"""The safety net callback: it ends what the tasks of a failed DAG run own and what still runs."""

from datetime import datetime, timezone

import pytest
from airflow.sdk import DAG
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import GetXComSequenceSlice, XComSequenceSliceResult

from airflow_provider_kernel.callbacks import cancel_kernel_invocations
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.operators.invocation import (
    KernelCompleteInvocationOperator,
    KernelInvokeOperator,
)
from airflow_provider_kernel.testing import Fault

INVOKE = {"app_name": "demo", "action_name": "browsers"}


class XComs:
    """What the DAG processor's supervisor answers, by task."""

    def __init__(self, ids):
        self.ids = ids

    def send(self, msg):
        assert isinstance(msg, GetXComSequenceSlice)
        assert (msg.dag_id, msg.run_id, msg.key) == ("d", "r", "invocation_id")
        return XComSequenceSliceResult(root=self.ids.get(msg.task_id, []))


@pytest.fixture
def started(kernel_emulator, kernel_connection):
    def start():
        with KernelHook() as hook:
            invocation_id = hook.invoke("demo", "browsers", {"count": 1, "seconds": 600}).id
        kernel_emulator.wait_until(lambda: kernel_emulator.invocation(invocation_id).browsers == 1)
        return invocation_id

    return start


@pytest.fixture
def call_back(monkeypatch, kernel_connection):
    def call_back(ids):
        with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:
            KernelInvokeOperator(task_id="one", **INVOKE)
            KernelInvokeOperator.partial(task_id="mapped", **INVOKE).expand(payload=[1, 2, 3])
            KernelInvokeOperator(task_id="kept", cancel_on_kill=False, **INVOKE)
            KernelInvokeOperator(task_id="released", wait_for_completion=False, **INVOKE)
            KernelInvokeOperator.partial(task_id="mapped_and_kept", cancel_on_kill=False, **INVOKE).expand(
                payload=[1]
            )
            KernelCompleteInvocationOperator(task_id="of_others", invocation_id="x")
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", XComs(ids), raising=False)
        cancel_kernel_invocations({"dag": dag, "run_id": "r", "reason": "task_failure"})

    return call_back


def statuses(kernel):
    return [(invocation.status, invocation.browsers) for invocation in kernel.invocations]


def test_safety_net_ends_the_invocations_of_every_task_also_of_mapped_ones(started, call_back, kernel_emulator):
    call_back({"one": [started()], "mapped": [started(), started()]})
    assert statuses(kernel_emulator) == [("failed", 0)] * 3
    assert kernel_emulator.invocations[0].output_json == {"error": "The Airflow DAG run failed"}


def test_safety_net_leaves_an_invocation_that_has_ended(started, call_back, kernel_emulator):
    invocation_id = started()
    kernel_emulator.finish(invocation_id, output=1)
    call_back({"one": [invocation_id]})
    assert kernel_emulator.requests("PATCH") == ()
    assert kernel_emulator.requests("DELETE") == ()


@pytest.mark.parametrize("task_id", ["kept", "released", "mapped_and_kept", "of_others"])
def test_safety_net_leaves_an_invocation_that_no_task_owns(task_id, started, call_back, kernel_emulator):
    call_back({task_id: [started()]})
    assert statuses(kernel_emulator) == [("running", 1)]


def test_safety_net_ends_the_other_invocations_when_one_cannot_be_ended(started, call_back, kernel_emulator):
    first, second = started(), started()
    kernel_emulator.add_fault(Fault("PATCH", f"/invocations/{first}", nth=None, status=400))
    call_back({"one": [first, second, "nonexistent"]})
    assert kernel_emulator.invocation(first).status == "running"
    assert kernel_emulator.invocation(second).status == "failed"


def test_safety_net_sends_no_request_for_a_run_that_started_nothing(call_back, kernel_emulator):
    call_back({})
    assert kernel_emulator.journal == ()
