"""The kill of the trigger: by a user who marks or clears the task, and by a takeover."""

import asyncio
import json

import pytest
from support.dag_callbacks import ownership
from support.invocation_trigger import (
    ANY,
    BROWSERS,
    EVENTS,
    cancels_are_done,
    killed_but_not_done,
    needs_on_kill,
    row,
)
from support.triggerer import held_back, task_instance

from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle import trigger as owning_trigger
from airflow_provider_kernel.testing import Fault

pytestmark = pytest.mark.usefixtures("kernel_connection", "supervisor")


@pytest.mark.parametrize(
    "state", ["failed", "success", None, "scheduled", "queued", "running", "up_for_retry", "skipped"]
)
async def test_kill_of_a_task_in_another_state_cancels(state, waits, triggerer, supervisor, assert_cancelled, log):
    task, invocation_id = await waits()
    supervisor.states["t"] = state
    await triggerer.kill(task)
    await cancels_are_done()
    assert_cancelled(invocation_id)
    assert triggerer.events == []
    assert any(
        text.startswith(f"Invocation {invocation_id} was cancelled; it is now failed (in ") for _, text in log()
    )


async def test_kill_of_a_task_that_is_gone_cancels(waits, triggerer, supervisor, assert_cancelled):
    task, invocation_id = await waits()
    supervisor.states.clear()
    await triggerer.kill(task)
    await cancels_are_done()
    assert_cancelled(invocation_id)


@pytest.mark.parametrize("other", ["another invocation", None])
async def test_kill_of_a_task_that_waits_for_another_invocation_cancels(
    other, waits, triggerer, supervisor, assert_cancelled
):
    task, invocation_id = await waits()
    supervisor.xcoms["t", -1, "kernel_invocation_owner"] = other and ownership(other)
    await triggerer.kill(task)
    await cancels_are_done()
    assert_cancelled(invocation_id)


async def test_kill_of_a_mapped_task_instance_cancels_its_own_invocation_only(
    waits, triggerer, supervisor, assert_cancelled, kernel_emulator
):
    """Of two mapped task instances, only the one that was marked."""
    task, invocation_id = await waits(ti=task_instance(map_index=0))
    other_task, other_id = await waits(ti=task_instance(map_index=1))
    supervisor.states["t_0"] = "failed"
    await triggerer.kill(task)
    await triggerer.kill(other_task)
    await cancels_are_done()
    assert_cancelled(invocation_id)
    assert kernel_emulator.invocation(other_id).status == "running"


async def test_kill_while_the_stream_is_open_cancels(
    waits, triggerer, supervisor, assert_cancelled, kernel_emulator
):
    task, invocation_id = await waits(stream_logs=True)
    await asyncio.to_thread(kernel_emulator.wait_for, "GET", EVENTS)
    supervisor.states["t"] = "failed"
    await triggerer.kill(task)
    await cancels_are_done()
    assert_cancelled(invocation_id)


async def test_kill_while_a_poll_is_in_flight_cancels(
    start, triggerer, supervisor, kernel_emulator, assert_cancelled
):
    fault = kernel_emulator.add_fault(Fault("GET", ANY, hold=True))
    invocation_id = start()
    task = await triggerer.start(row(invocation_id=invocation_id), task_instance())
    await asyncio.to_thread(fault.wait_until_held)
    await triggerer.kill(task)
    await cancels_are_done()
    assert_cancelled(invocation_id)


async def test_kill_while_the_connection_is_read_cancels(
    start, triggerer, supervisor, reads, assert_cancelled, monkeypatch
):
    """The first call to Airflow takes seconds in a triggerer that has just started."""
    asked = asyncio.Event()
    read = KernelHook.aget_connection

    async def slow(conn_id):
        if not asked.is_set():
            asked.set()
            await asyncio.Event().wait()
        return await read(conn_id)

    monkeypatch.setattr(KernelHook, "aget_connection", staticmethod(slow))
    invocation_id = start()
    task = await triggerer.start(row(invocation_id=invocation_id), task_instance())
    await asked.wait()
    await triggerer.kill(task)
    await cancels_are_done()
    assert_cancelled(invocation_id)


async def test_kill_while_the_connection_cannot_be_read_cancels_once_it_can(
    start, triggerer, supervisor, assert_cancelled, monkeypatch
):
    failed = asyncio.Event()
    read, failures = KernelHook.aget_connection, [1, 2, 3]

    async def broken(conn_id):
        if failures:
            failures.pop()
            failed.set()
            raise RuntimeError("the API server is away")
        return await read(conn_id)

    monkeypatch.setattr(KernelHook, "aget_connection", staticmethod(broken))
    invocation_id = start()
    task = await triggerer.start(row(invocation_id=invocation_id), task_instance())
    await failed.wait()
    monkeypatch.setattr(owning_trigger, "_CONNECTION_PAUSE_SECONDS", 0.01)
    await triggerer.kill(task)
    await cancels_are_done()
    assert_cancelled(invocation_id)
    assert not failures


@pytest.mark.parametrize("slow", ["GET", "PATCH", "DELETE"])
async def test_kill_waits_for_a_cancel_that_outlasts_many_loops_of_the_triggerer(
    slow, waits, triggerer, supervisor, kernel_emulator, assert_cancelled
):
    task, invocation_id = await waits()
    path = BROWSERS if slow == "DELETE" else ANY
    fault = kernel_emulator.add_fault(Fault(slow, path, hold=True))
    supervisor.states["t"] = "failed"
    killing = await killed_but_not_done(triggerer, task)
    await asyncio.to_thread(fault.wait_until_held)
    assert owning_trigger._ends
    fault.release()
    await killing
    await cancels_are_done()
    assert_cancelled(invocation_id)


async def test_kill_cancels_although_the_fetch_before_it_hangs(
    waits, triggerer, supervisor, kernel_emulator, assert_cancelled, monkeypatch
):
    connection = {**json.loads(kernel_emulator.airflow_connection), "extra": {"read_timeout": 0.3}}
    monkeypatch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", json.dumps(connection))
    task, invocation_id = await waits()
    fault = kernel_emulator.add_fault(Fault("GET", ANY, hold=True))
    supervisor.states["t"] = "failed"
    await triggerer.kill(task)
    await cancels_are_done()
    assert_cancelled(invocation_id)
    assert len(kernel_emulator.requests("GET", ANY)) == 2  # one of them was the trigger's own poll
    fault.release()


async def test_kill_leaves_the_result_of_an_invocation_that_has_just_succeeded(
    waits, triggerer, supervisor, kernel_emulator, changes, log
):
    kernel_emulator.switches.patch_on_finished = "overwrite"
    task, invocation_id = await waits()
    kernel_emulator.finish(invocation_id, output=1)
    supervisor.states["t"] = "failed"
    await triggerer.kill(task)
    await cancels_are_done()
    assert changes() == []
    assert any(
        text.startswith(f"Invocation {invocation_id} had already ended as succeeded (in ") for _, text in log()
    )


@pytest.mark.parametrize("trouble", [{"status": 500}, {"status": 403}, {"drop": "before"}], ids=str)
async def test_kill_cancels_although_kernel_fails_more_often_than_any_policy_retries(
    trouble, waits, triggerer, supervisor, kernel_emulator, log
):
    task, invocation_id = await waits()
    kernel_emulator.add_fault(Fault("PATCH", ANY, nth=range(1, 8), **trouble))
    supervisor.states["t"] = "failed"
    await triggerer.kill(task)
    await cancels_are_done()
    assert kernel_emulator.invocation(invocation_id).status == "failed"
    assert len(kernel_emulator.requests("PATCH")) == 8
    (warning,) = [text for level, text in log() if level == "WARNING"]
    assert warning.endswith("; trying again for up to 600 s")
    assert not [text for level, text in log() if level == "ERROR"]


async def test_failed_cancel_is_logged_with_who_is_next(
    waits, triggerer, supervisor, kernel_emulator, log, monkeypatch
):
    monkeypatch.setattr(owning_trigger, "_KILLED", owning_trigger._KILLED._replace(seconds=0.2))
    task, invocation_id = await waits()
    kernel_emulator.add_fault(Fault("PATCH", ANY, nth=None, status=403))
    supervisor.states["t"] = "failed"
    await triggerer.kill(task)
    await cancels_are_done()
    (error,) = [text for level, text in log() if level == "ERROR"]
    assert error.startswith(f"Invocation {invocation_id} could not be ended: ")
    assert "403" in error
    assert error.endswith(
        "Next in line: the next try after a clear, the DAG's safety net, the sweep, and Kernel's own time limit"
    )


async def test_cancel_that_takes_too_long_is_logged(
    waits, triggerer, supervisor, kernel_emulator, log, monkeypatch
):
    order = owning_trigger._KILLED._replace(seconds=0.1, attempt_seconds=0.1)
    monkeypatch.setattr(owning_trigger, "_KILLED", order)
    task, invocation_id = await waits()
    fault = kernel_emulator.add_fault(Fault("PATCH", ANY, nth=None, hold=True))
    supervisor.states["t"] = "failed"
    await triggerer.kill(task)
    await cancels_are_done()
    fault.release()
    (error,) = [text for level, text in log() if level == "ERROR"]
    assert error.startswith(f"Invocation {invocation_id} could not be ended: no answer in time. Next in line: ")


async def test_kill_without_cancel_on_kill_leaves_the_invocation(waits, triggerer, supervisor, changes):
    task, _ = await waits(cancel_on_kill=False)
    supervisor.states["t"] = "failed"
    await triggerer.kill(task)
    await cancels_are_done()
    assert changes() == []
    assert not [message for message in supervisor.asked if message.type == "GetTaskStates"]


@pytest.mark.usefixtures("refused_key_ends_waits_soon")
@pytest.mark.parametrize("status", ["finished", "error"])
async def test_kill_after_the_event_leaves_the_invocation_to_the_worker(
    status, start, triggerer, supervisor, kernel_emulator, changes, stale_answer
):
    """A trigger may linger after its event; the worker has taken over by then."""
    invocation_id = start()
    if status == "finished":
        kernel_emulator.add_fault(Fault("GET", ANY, body=stale_answer(invocation_id, "succeeded")))
    else:
        kernel_emulator.add_fault(Fault("GET", ANY, status=401))
    lingers = triggerer.linger_after_the_event()
    task = await triggerer.start(row(invocation_id=invocation_id), task_instance())
    await lingers.wait()
    supervisor.states["t"] = "success"
    await triggerer.kill(task)
    await cancels_are_done()
    assert changes() == []
    assert kernel_emulator.invocation(invocation_id).status == "running"


async def test_kill_by_a_takeover_leaves_the_invocation(waits, triggerer, changes, kernel_emulator, log):
    task, invocation_id = await waits()
    await triggerer.kill(task)
    await cancels_are_done()
    assert changes() == []
    assert kernel_emulator.invocation(invocation_id).status == "running"
    assert ("INFO", f"The task still waits for invocation {invocation_id} elsewhere; it is left alone") in log()


async def test_kill_by_a_takeover_leaves_the_invocation_of_a_mapped_task_instance(
    waits, triggerer, changes, supervisor
):
    task, _ = await waits(ti=task_instance(map_index=3))
    supervisor.states["t"] = "failed"  # a mapped task has no such state
    await triggerer.kill(task)
    await cancels_are_done()
    assert changes() == []


async def test_kill_by_a_takeover_leaves_the_invocation_when_airflow_is_slow(waits, triggerer, changes, supervisor):
    task, _ = await waits()
    with held_back() as supervisor.hold:
        killing = await killed_but_not_done(triggerer, task)
    await killing
    await cancels_are_done()
    assert changes() == []


@pytest.fixture
def fails(supervisor):
    def fail(message):
        raise ConnectionError("the supervisor is gone")

    supervisor.hold = fail


@needs_on_kill
async def test_kill_cancels_when_airflow_raises(waits, triggerer, fails, assert_cancelled, log):
    task, invocation_id = await waits()
    await triggerer.kill(task)
    await cancels_are_done()
    assert_cancelled(invocation_id)
    assert ("WARNING", "The state of the task could not be fetched: the supervisor is gone") in log()


@needs_on_kill
async def test_kill_cancels_when_airflow_never_answers(
    waits, triggerer, supervisor, assert_cancelled, log, monkeypatch
):
    monkeypatch.setattr(owning_trigger, "_STATE_SECONDS", 0.2)
    task, invocation_id = await waits()
    with held_back() as supervisor.hold:
        await triggerer.kill(task)
        await cancels_are_done()
        assert_cancelled(invocation_id)
    assert ("WARNING", "The state of the task could not be fetched: no answer in time") in log()


@needs_on_kill
async def test_kill_cancels_when_airflow_answers_late(waits, triggerer, supervisor, assert_cancelled):
    task, invocation_id = await waits()
    supervisor.states["t"] = "failed"
    with held_back() as supervisor.hold:
        killing = await killed_but_not_done(triggerer, task)
    await killing
    await cancels_are_done()
    assert_cancelled(invocation_id)


async def test_kill_does_not_read_the_connection_again(waits, triggerer, reads, supervisor, assert_cancelled):
    task, invocation_id = await waits()
    supervisor.states["t"] = "failed"
    await triggerer.kill(task)
    await cancels_are_done()
    assert_cancelled(invocation_id)
    assert reads == ["kernel_default"]
