"""KernelCancelOrphansOperator: end what nobody waits for any more, and nothing else."""

import pytest

from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.operators.orphans import KernelCancelOrphansOperator
from airflow_provider_kernel.testing import Fault


@pytest.fixture
def started(kernel_emulator, kernel_connection):
    def started(run_id, payload=None, **mark):
        payload = payload or {"_airflow": {"dag_id": "d", "run_id": run_id, "task_id": "t", "token": "x", **mark}}
        with KernelHook() as hook:
            return hook.invoke("demo", "hang", payload).id

    return started


@pytest.fixture
def find_orphans(make_task, execution_api):
    execution_api.dag_run_states = {"over": "success", "failed": "failed", "going on": "running", "waits": "queued"}

    def find_orphans(**arguments):
        result = make_task(KernelCancelOrphansOperator, app_name="demo", **arguments).run()
        return result, set(execution_api.xcoms.get("return_value") or ())

    return find_orphans


def active(kernel):
    return {invocation.id for invocation in kernel.invocations if not invocation.finished}


def test_a_dry_run_says_what_it_would_cancel_and_cancels_nothing(find_orphans, started, kernel_emulator, capsys):
    orphans = {started("over"), started("failed")}
    others = {started("going on"), started("waits")}
    result, found = find_orphans()
    assert result.state == "success"
    assert found == orphans
    assert active(kernel_emulator) == orphans | others
    log = capsys.readouterr().out
    assert all(f"Invocation {orphan}" in log for orphan in orphans)
    assert "would be cancelled" in log
    assert kernel_emulator.requests("PATCH") == ()


def test_for_real_it_cancels_them_and_nothing_else(find_orphans, started, kernel_emulator):
    orphans = {started("over"), started("failed")}
    others = {
        started("going on"),
        started("waits"),
        started("of another Airflow"),
        started("over", payload={"no": "mark"}),
        started("over", payload={"_airflow": "over"}),
        started("over", payload={"_other": {"dag_id": "d", "run_id": "over"}}),
    }
    _, found = find_orphans(dry_run_only=False)
    assert found == orphans
    assert active(kernel_emulator) == others


def test_what_has_ended_is_no_orphan(find_orphans, started, kernel_emulator):
    kernel_emulator.finish(started("over"), output=1)
    assert find_orphans(dry_run_only=False)[1] == set()
    assert kernel_emulator.requests("PATCH") == ()


def test_one_that_cannot_be_cancelled_does_not_keep_it_from_the_others(find_orphans, started, kernel_emulator):
    stubborn, other = started("over"), started("over")
    kernel_emulator.add_fault(Fault("PATCH", f"/invocations/{stubborn}", nth=None, status=400))
    result, _ = find_orphans(dry_run_only=False)
    assert result.state == "failed"
    assert active(kernel_emulator) == {stubborn}
    assert kernel_emulator.invocation(other).status == "failed"


def test_another_key_may_be_theirs(find_orphans, started):
    orphan = started("over", payload={"airflow": {"dag_id": "d", "run_id": "over"}})
    assert find_orphans(correlation_key="airflow")[1] == {orphan}


def test_without_a_key_nobody_can_tell():
    with pytest.raises(KernelInputError, match="correlation_key is empty"):
        KernelCancelOrphansOperator(task_id="t", app_name="demo", correlation_key="")
