"""The safety net goes by what each task instance wrote, in each way to give it a connection or an option."""

from contextlib import ExitStack

import pytest
from airflow.sdk import task_group
from support.dag_callbacks import XComs, answer_from, leave_seconds, new_dag
from support.execution_api import ExecutionAPI, task_instance
from support.in_process import run_task

from airflow_provider_kernel.callbacks import cancel_kernel_invocations
from airflow_provider_kernel.operators.invocation import KernelInvokeOperator
from airflow_provider_kernel.testing import KernelEmulator

HANG = {"app_name": "demo", "action_name": "hang", "stream_logs": False, "deferrable": True}
KEY = "kernel_invocation_owner"


def by_template():
    KernelInvokeOperator(task_id="t", kernel_conn_id="{{ params.conn }}", **HANG)


def by_expand():
    KernelInvokeOperator.partial(task_id="t", **HANG).expand(kernel_conn_id=["kernel_team", "kernel_default"])


def by_expand_kwargs():
    KernelInvokeOperator.partial(task_id="t", kernel_conn_id="kernel_team", **HANG).expand_kwargs(
        [{"cancel_on_kill": False}, {"cancel_on_kill": True}]
    )


def by_mapped_group():
    @task_group
    def group(conn_id):
        KernelInvokeOperator(task_id="t", kernel_conn_id=conn_id, **HANG)

    group.expand(conn_id=["kernel_team", "kernel_default"])


def by_default_args():
    KernelInvokeOperator(task_id="t", **HANG)


#: How a DAG says it; then of each map index the account, and whether the net ends the invocation.
IDIOMS = {
    "template": (by_template, {-1: ("kernel_team", True)}),
    "expand": (by_expand, {0: ("kernel_team", True), 1: ("kernel_default", True)}),
    "expand_kwargs": (by_expand_kwargs, {0: ("kernel_team", False), 1: ("kernel_team", True)}),
    "mapped group": (by_mapped_group, {0: ("kernel_team", True), 1: ("kernel_default", True)}),
    "default_args": (by_default_args, {-1: ("kernel_team", True)}),
}


@pytest.fixture(scope="module")
def accounts():
    """Two accounts of Kernel, each with a connection."""
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setattr("airflow_provider_kernel.operators.invocation.FIRST_POLL_SECONDS", 0.0)
        accounts = {}
        for conn_id in ("kernel_default", "kernel_team"):
            accounts[conn_id] = stack.enter_context(KernelEmulator())
            patch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", accounts[conn_id].airflow_connection)
        yield accounts


@pytest.mark.parametrize(("make", "expected"), IDIOMS.values(), ids=list(IDIOMS))
def test_safety_net_ends_over_the_connection_and_by_the_options_of_each_task_instance(
    make, expected, accounts, monkeypatch
):
    by_default = {"kernel_conn_id": "kernel_team"} if make is by_default_args else {}
    with new_dag(params={"conn": "kernel_team"}, default_args=by_default) as dag:
        make()
    (task,) = dag.tasks
    records = []
    for map_index in expected:
        api = ExecutionAPI()
        ti = task_instance(task.task_id, map_index=map_index)
        assert run_task(ti=ti, task=task, client=api.client()).state == "deferred"
        records.append(api.xcoms[KEY])
    answer_from(monkeypatch, XComs({task.task_id: records}))
    leave_seconds(monkeypatch, 5)
    cancel_kernel_invocations({"dag": dag, "run_id": "r", "reason": "task_failure"})
    found = [
        accounts[conn_id].invocation(record["external_id"])
        for record, (conn_id, _) in zip(records, expected.values(), strict=True)
    ]
    assert [invocation.status == "failed" for invocation in found] == [
        is_ended for _, is_ended in expected.values()
    ]
