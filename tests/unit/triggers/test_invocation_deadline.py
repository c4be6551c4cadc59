"""The deadline of a deferred task: the trigger ends the invocation before it sends its event."""

import asyncio
import json
import time
from unittest import mock

import pytest
from support.dag_callbacks import ownership
from support.invocation_trigger import ANY, cancels_are_done, row
from support.triggerer import task_instance

from airflow_provider_kernel import _compat
from airflow_provider_kernel.lifecycle import trigger as owning_trigger
from airflow_provider_kernel.testing import Fault

REASON = "The Airflow task ended early: KernelInvocationTimeoutError"

pytestmark = pytest.mark.usefixtures("kernel_connection", "supervisor")


@pytest.fixture
def overdue(start, triggerer, supervisor):
    """Start a trigger whose deadline has passed; return its task and the invocation's id."""

    async def overdue(**arguments):
        invocation_id = start()
        supervisor.states["t"] = "deferred"
        supervisor.xcoms["t", -1, "kernel_invocation_owner"] = ownership(invocation_id)
        arguments = {"deadline": time.time() - 1, "poll_interval": 60, **arguments}
        return await triggerer.start(row(invocation_id=invocation_id, **arguments), task_instance()), invocation_id

    return overdue


@pytest.fixture
def soon_in_the_background(monkeypatch):
    monkeypatch.setattr(owning_trigger, "_OVERDUE_SECONDS", 0.1)


async def test_deadline_cancels_the_invocation_before_the_event(overdue, triggerer, kernel_emulator, changes):
    task, invocation_id = await overdue()
    await task
    assert triggerer.events == [
        {"invocation_id": invocation_id, "status": "timeout", "ended": True, "deadline": mock.ANY, "limit": None}
    ]
    path = f"/invocations/{invocation_id}"
    assert changes() == [("PATCH", path), ("DELETE", f"{path}/browsers")]
    invocation = kernel_emulator.invocation(invocation_id)
    assert (invocation.status, json.loads(invocation.output)) == ("failed", {"error": REASON})


async def test_deadline_without_cancel_on_kill_leaves_the_invocation(overdue, triggerer, kernel_emulator, changes):
    task, invocation_id = await overdue(cancel_on_kill=False)
    await task
    assert triggerer.events == [
        {"invocation_id": invocation_id, "status": "timeout", "ended": False, "deadline": mock.ANY, "limit": None}
    ]
    assert changes() == []
    assert kernel_emulator.invocation(invocation_id).status == "running"


async def test_deadline_cancels_the_invocation_after_some_failures_before_the_event(
    overdue, triggerer, kernel_emulator
):
    kernel_emulator.add_fault(Fault("PATCH", ANY, nth=range(1, 5), status=500))
    task, invocation_id = await overdue()
    await task
    assert triggerer.events == [
        {"invocation_id": invocation_id, "status": "timeout", "ended": True, "deadline": mock.ANY, "limit": None}
    ]
    assert kernel_emulator.invocation(invocation_id).status == "failed"


async def test_deadline_finds_an_invocation_that_has_just_succeeded(
    overdue, triggerer, kernel_emulator, changes, stale_answer
):
    answers = kernel_emulator.add_fault(Fault("GET", ANY, body=stale_answer("", "running"), hold=True))
    task, invocation_id = await overdue()
    await asyncio.to_thread(answers.wait_until_held)
    kernel_emulator.finish(invocation_id, output=1)
    answers.release()
    await task
    assert triggerer.events == [{"invocation_id": invocation_id, "status": "finished"}]
    assert changes() == []


async def test_deadline_is_a_timeout_although_the_answer_to_the_cancel_got_lost(
    overdue, triggerer, kernel_emulator
):
    """The second attempt finds that the invocation is over, but it was the first one that has ended it."""
    kernel_emulator.add_fault(Fault("PATCH", ANY, status=500, processed=True))
    task, invocation_id = await overdue()
    await task
    assert triggerer.events == [
        {"invocation_id": invocation_id, "status": "timeout", "ended": True, "deadline": mock.ANY, "limit": None}
    ]
    assert kernel_emulator.invocation(invocation_id).status == "failed"


@pytest.mark.usefixtures("soon_in_the_background")
async def test_deadline_sends_its_event_while_kernel_is_down_and_goes_on(overdue, triggerer, kernel_emulator, log):
    kernel_emulator.add_fault(Fault("PATCH", ANY, nth=None, status=500))
    task, invocation_id = await overdue()
    await task
    assert triggerer.events == [
        {"invocation_id": invocation_id, "status": "timeout", "ended": False, "deadline": mock.ANY, "limit": None}
    ]
    assert kernel_emulator.invocation(invocation_id).status == "running"
    kernel_emulator.clear_faults()
    await cancels_are_done()
    assert kernel_emulator.invocation(invocation_id).status == "failed"
    warnings = [text for level, text in log() if level == "WARNING"]
    assert warnings[0].endswith("; trying again for up to 600 s")
    assert warnings[1].endswith("; the trigger goes on in the background, and the task is resumed")


@pytest.mark.usefixtures("soon_in_the_background")
async def test_deadline_logs_who_is_next_when_kernel_stays_down(overdue, kernel_emulator, log, monkeypatch):
    monkeypatch.setattr(owning_trigger, "_OVERDUE", owning_trigger._OVERDUE._replace(seconds=0.2))
    kernel_emulator.add_fault(Fault("PATCH", ANY, nth=None, status=500))
    task, invocation_id = await overdue()
    await task
    await cancels_are_done()
    (error,) = [text for level, text in log() if level == "ERROR"]
    assert error.startswith(f"Invocation {invocation_id} could not be ended: ")
    assert "Next in line: the worker that resumes the task, the DAG's safety net, " in error


async def test_kill_after_the_event_of_a_deadline_sends_nothing_more(overdue, triggerer, supervisor, changes):
    lingers = triggerer.linger_after_the_event()
    task, _ = await overdue()
    await lingers.wait()
    before = changes()
    supervisor.states["t"] = "success"
    await triggerer.kill(task)
    await cancels_are_done()
    assert changes() == before


@pytest.mark.parametrize("state", ["failed", "success", "deferred", None])
async def test_kill_while_a_deadline_cancels_sends_no_event_and_cancels_once(
    state, overdue, triggerer, supervisor, kernel_emulator, changes
):
    fault = kernel_emulator.add_fault(Fault("PATCH", ANY, hold=True))
    task, invocation_id = await overdue()
    await asyncio.to_thread(fault.wait_until_held)
    supervisor.states["t"] = state
    killing = asyncio.create_task(triggerer.kill(task))
    fault.release()
    await killing
    await cancels_are_done()
    assert task.cancelled()
    assert triggerer.events == []
    path = f"/invocations/{invocation_id}"
    assert changes() == [("PATCH", path), ("DELETE", f"{path}/browsers")]


@pytest.mark.parametrize("has_on_kill", [True, False])
async def test_cancelled_run_while_a_deadline_cancels_cancels_once(
    has_on_kill, overdue, kernel_emulator, changes, monkeypatch
):
    monkeypatch.setattr(_compat, "triggers_have_on_kill", lambda: has_on_kill)
    fault = kernel_emulator.add_fault(Fault("PATCH", ANY, hold=True))
    task, invocation_id = await overdue()
    await asyncio.to_thread(fault.wait_until_held)
    task.cancel()
    fault.release()
    await asyncio.wait({task})
    await cancels_are_done()
    path = f"/invocations/{invocation_id}"
    assert changes() == [("PATCH", path), ("DELETE", f"{path}/browsers")]
