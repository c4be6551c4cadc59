"""No event before the task may be queued again; Airflow's scheduler would fail the task."""

import asyncio

import pytest
from support.invocation_trigger import needs_on_kill, row

from airflow_provider_kernel.lifecycle.trigger import OwningTrigger

pytestmark = pytest.mark.usefixtures("kernel_connection", "supervisor")


@pytest.fixture
def min_deferral(monkeypatch):
    return lambda seconds: monkeypatch.setenv("AIRFLOW__KERNEL__MIN_DEFERRAL", str(seconds))


@pytest.fixture
def held(monkeypatch):
    """Set once a trigger has learned the outcome, and holds its event."""
    reached = asyncio.Event()
    hold_event = OwningTrigger.hold_event

    async def hold(self, **arguments):
        reached.set()
        await hold_event(self, **arguments)

    monkeypatch.setattr(OwningTrigger, "hold_event", hold)
    return reached


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "timeout"])
async def test_event_comes_no_sooner_than_the_least_length_of_a_deferral(
    outcome, min_deferral, start, triggerer, kernel_emulator
):
    min_deferral(0.3)
    invocation_id = start()
    began = asyncio.get_running_loop().time()
    if outcome == "timeout":
        trigger = row(invocation_id=invocation_id, deadline=0.0)
    else:
        kernel_emulator.finish(invocation_id, outcome)
        trigger = row(invocation_id=invocation_id)
    await (await triggerer.start(trigger))
    assert asyncio.get_running_loop().time() - began >= 0.3
    assert [event["status"] for event in triggerer.events] == ["timeout" if outcome == "timeout" else "finished"]


@needs_on_kill
async def test_kill_of_a_task_whose_event_is_held_sends_no_event(
    min_deferral, held, start, triggerer, kernel_emulator, changes
):
    min_deferral(3600)
    invocation_id = start()
    kernel_emulator.finish(invocation_id)
    task = await triggerer.start(row(invocation_id=invocation_id))
    await held.wait()
    await triggerer.kill(task)
    assert triggerer.events == []
    assert kernel_emulator.invocation(invocation_id).status == "succeeded"
