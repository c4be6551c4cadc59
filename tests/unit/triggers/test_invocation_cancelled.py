"""The trigger on Airflow below 3.3, which cancels ``run()`` and calls no ``on_kill``."""

import asyncio

import pytest
from support.invocation_trigger import (
    ANY,
    row,
)
from support.triggerer import task_instance

from airflow_provider_kernel import _compat
from airflow_provider_kernel.testing import Fault

pytestmark = pytest.mark.usefixtures("kernel_connection", "supervisor")


@pytest.fixture
def older(monkeypatch):
    """Airflow below 3.3 only cancels a trigger, on a user's action as on a stop of the triggerer."""
    monkeypatch.setattr(_compat, "triggers_have_on_kill", lambda: False)


@pytest.mark.usefixtures("older")
@pytest.mark.parametrize("map_index", [-1, 0, 7])
@pytest.mark.parametrize("state", ["failed", "success", None, "running"])
async def test_cancelled_run_on_older_airflow_cancels_when_the_task_no_longer_waits(
    state, map_index, waits, triggerer, supervisor, assert_cancelled
):
    task, invocation_id = await waits(ti=task_instance(map_index=map_index))
    supervisor.states["t" if map_index < 0 else f"t_{map_index}"] = state
    await triggerer.stop()
    assert task.cancelled()
    assert_cancelled(invocation_id)


@pytest.mark.usefixtures("older")
@pytest.mark.parametrize("map_index", [-1, 0])
async def test_cancelled_run_on_older_airflow_leaves_the_invocation_when_the_task_waits(
    map_index, waits, triggerer, changes
):
    await waits(ti=task_instance(map_index=map_index))
    await triggerer.stop()
    assert changes() == []


@pytest.mark.usefixtures("older")
async def test_cancelled_run_on_older_airflow_leaves_the_invocation_when_airflow_does_not_answer(
    waits, triggerer, supervisor, changes
):
    def fail(message):
        raise ConnectionError("the supervisor is gone")

    supervisor.hold = fail
    supervisor.states["t"] = "failed"
    await waits()
    await triggerer.stop()
    assert changes() == []


@pytest.mark.usefixtures("older")
async def test_cancelled_run_on_older_airflow_leaves_the_invocation_without_a_task(
    start, triggerer, kernel_emulator, changes
):
    await triggerer.start(row(invocation_id=start()))
    await asyncio.to_thread(kernel_emulator.wait_for, "GET", ANY)
    await triggerer.stop()
    assert changes() == []


@pytest.mark.usefixtures("older")
async def test_run_cancelled_again_and_again_on_older_airflow_cancels_once(
    waits, triggerer, supervisor, kernel_emulator, assert_cancelled
):
    task, invocation_id = await waits()
    fault = kernel_emulator.add_fault(Fault("PATCH", ANY, hold=True))
    supervisor.states["t"] = "failed"
    task.cancel()
    await asyncio.to_thread(fault.wait_until_held)
    for _ in range(3):
        task.cancel()
        await asyncio.wait({task}, timeout=0.01)
    assert not task.done()
    fault.release()
    await asyncio.wait({task})
    assert task.cancelled()
    assert_cancelled(invocation_id)


@pytest.mark.usefixtures("older")
async def test_cancelled_run_on_older_airflow_without_cancel_on_kill_leaves_the_invocation(
    waits, triggerer, supervisor, changes
):
    await waits(cancel_on_kill=False)
    supervisor.states["t"] = "failed"
    await triggerer.stop()
    assert changes() == []
