"""A stop of the triggerer."""

import asyncio
import json
import threading
import time

import pytest
from support.dag_callbacks import ownership
from support.invocation_trigger import ANY, needs_on_kill, row
from support.triggerer import Triggerer, held_back, task_instance

from airflow_provider_kernel import _compat
from airflow_provider_kernel.lifecycle import task_instances
from airflow_provider_kernel.testing import Fault

pytestmark = pytest.mark.usefixtures("kernel_connection", "supervisor")


@pytest.mark.parametrize("stream_logs", [False, True])
async def test_stop_of_the_triggerer_changes_nothing_and_another_one_goes_on(
    stream_logs, waits, triggerer, supervisor, kernel_emulator, changes, monkeypatch
):
    monkeypatch.setattr(task_instances, "_is_preloaded", True)  # else Airflow is asked for that
    task, invocation_id = await waits(stream_logs=stream_logs)
    await triggerer.stop()
    assert task.cancelled()
    assert changes() == []
    if _compat.triggers_have_on_kill():  # else it must ask whether a user acted
        assert not [message for message in supervisor.asked if message.type == "GetTaskStates"]

    another = Triggerer()
    again = await another.start(row(invocation_id=invocation_id, stream_logs=stream_logs), task_instance())
    kernel_emulator.finish(invocation_id, output=1)
    await again
    assert another.events == [{"invocation_id": invocation_id, "status": "finished"}]
    assert changes() == []
    assert len(kernel_emulator.invocations) == 1


@pytest.fixture
def stop_during_a_cancel(kernel_emulator, supervisor, start, triggerer):
    """Stop a triggerer, as the end of ``asyncio.run`` does, while Kernel does not answer a cancel."""

    def stop_during_a_cancel(*, failures, kills, **arguments):
        """``kills``: whether a user marks the task; else its deadline has passed."""
        fault = kernel_emulator.add_fault(Fault("PATCH", ANY, nth=failures, hold=True, status=500))
        invocation_id = start()
        supervisor.states["t"] = "deferred"
        supervisor.xcoms["t", -1, "kernel_invocation_owner"] = ownership(invocation_id)

        under_way = []

        async def until_the_cancel_hangs():
            trigger = row(invocation_id=invocation_id, poll_interval=3600, **arguments)
            task = await triggerer.start(trigger, task_instance())
            await asyncio.to_thread(kernel_emulator.wait_for, "GET", ANY)
            if kills:
                supervisor.states["t"] = "failed"
                under_way.append(asyncio.create_task(triggerer.kill(task)))
            await asyncio.to_thread(fault.wait_until_held)

        asyncio.run(until_the_cancel_hangs())
        fault.release()
        return invocation_id

    return stop_during_a_cancel


@needs_on_kill
def test_stop_of_the_triggerer_during_a_cancel_leaves_one_more_attempt(
    stop_during_a_cancel, kernel_emulator, triggerer, log
):
    invocation_id = stop_during_a_cancel(failures=1, kills=True)
    invocation = kernel_emulator.invocation(invocation_id)
    assert invocation.status == "failed"
    assert json.loads(invocation.output) == {"error": "The Airflow task was killed"}
    assert (
        "WARNING",
        f"The process stops before invocation {invocation_id} has ended; there is time for one more attempt",
    ) in log()
    assert triggerer.events == []


@needs_on_kill
def test_stop_of_the_triggerer_during_a_cancel_logs_who_is_next_when_kernel_is_down(
    stop_during_a_cancel, kernel_emulator, log
):
    invocation_id = stop_during_a_cancel(failures=None, kills=True)
    assert kernel_emulator.invocation(invocation_id).status == "running"
    (error,) = [text for level, text in log() if level == "ERROR"]
    assert error.startswith(f"Invocation {invocation_id} could not be ended: ")
    assert "Next in line: the next try after a clear, the DAG's safety net, the sweep, " in error


def test_stop_of_the_triggerer_while_a_deadline_cancels_leaves_the_event_to_another_one(
    stop_during_a_cancel, kernel_emulator, triggerer
):
    deadline = time.time() - 1
    invocation_id = stop_during_a_cancel(failures=1, kills=False, deadline=deadline)
    assert kernel_emulator.invocation(invocation_id).status == "failed"
    assert triggerer.events == []
    another = Triggerer()

    async def go_on():
        await (await another.start(row(invocation_id=invocation_id, deadline=deadline), task_instance()))

    asyncio.run(go_on())
    assert another.events == [{"invocation_id": invocation_id, "status": "finished"}]


@needs_on_kill
def test_stop_of_the_triggerer_before_airflow_says_whether_the_task_waits_cancels(
    kernel_emulator, supervisor, start, triggerer
):
    """In doubt it is cancelled, as when Airflow does not answer in time."""
    invocation_id = start()
    asked = threading.Event()
    under_way = []

    async def until_airflow_is_asked():
        task = await triggerer.start(row(invocation_id=invocation_id, poll_interval=3600), task_instance())
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", ANY)
        supervisor.hold = lambda message: (asked.set(), blocked(message))
        under_way.append(asyncio.create_task(triggerer.kill(task)))
        await asyncio.to_thread(asked.wait)

    with held_back() as blocked:
        asyncio.run(until_airflow_is_asked())
    assert kernel_emulator.invocation(invocation_id).status == "failed"
