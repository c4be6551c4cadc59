"""No event before the task may be queued again; Airflow's scheduler would fail the task."""

import asyncio
import time

import pytest
from support.invocation_trigger import ANY, BROWSERS, EVENTS, cancels_are_done, needs_on_kill, row
from support.triggerer import task_instance

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

    async def hold(self):
        reached.set()
        await hold_event(self)

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
    task = await triggerer.start(row(invocation_id=invocation_id, stream_logs=True))
    await held.wait()
    await triggerer.kill(task)
    assert triggerer.events == []
    assert kernel_emulator.invocation(invocation_id).status == "succeeded"


@needs_on_kill
async def test_kill_after_a_deadline_whose_event_is_held_ends_nothing_again(
    min_deferral, held, start, triggerer, changes
):
    min_deferral(3600)
    invocation_id = start()
    task = await triggerer.start(row(invocation_id=invocation_id, deadline=0.0))
    await held.wait()
    before = changes()
    await triggerer.kill(task)
    await cancels_are_done()
    assert triggerer.events == []
    assert changes() == before


class TestPolls:
    """Before the event may be sent, a poll is of no use."""

    async def test_first_poll_comes_when_the_event_may_be_sent(
        self, min_deferral, start, triggerer, kernel_emulator
    ):
        min_deferral(0.5)
        invocation_id = start()
        began = time.monotonic()
        task = await triggerer.start(row(invocation_id=invocation_id, poll_interval=0.05))
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", ANY, 3)
        kernel_emulator.finish(invocation_id)
        await task
        first, second, *_ = [poll.received_at - began for poll in kernel_emulator.requests("GET", ANY)]
        assert first >= 0.5
        assert second - first < 0.4
        assert [event["status"] for event in triggerer.events] == ["finished"]

    async def test_short_wait_takes_one_poll(self, min_deferral, start, triggerer, kernel_emulator):
        min_deferral(0.5)
        invocation_id = start()
        task = await triggerer.start(row(invocation_id=invocation_id))
        asyncio.get_running_loop().call_later(0.2, kernel_emulator.finish, invocation_id)
        await task
        assert len(kernel_emulator.requests("GET", ANY)) == 1

    async def test_end_of_the_log_stream_is_polled_at_any_time(
        self, min_deferral, held, start, triggerer, kernel_emulator
    ):
        min_deferral(3600)
        invocation_id = start()
        task = await triggerer.start(row(invocation_id=invocation_id, stream_logs=True))
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", EVENTS)
        assert kernel_emulator.requests("GET", ANY) == ()
        kernel_emulator.finish(invocation_id)
        await asyncio.wait_for(held.wait(), 20)
        assert len(kernel_emulator.requests("GET", ANY)) == 1
        task.cancel()
        await asyncio.wait({task})

    async def test_deadline_is_not_held(self, min_deferral, held, start, triggerer, kernel_emulator):
        min_deferral(3600)
        trigger = row(invocation_id=start(), deadline=time.time() + 0.2)
        task = await triggerer.start(trigger)
        await asyncio.wait_for(held.wait(), 20)
        assert [call.method for call in kernel_emulator.journal if call.method in ("PATCH", "DELETE")] == [
            "PATCH",
            "DELETE",
        ]
        task.cancel()
        await asyncio.wait({task})

    async def test_link_to_a_browser_is_not_held(self, min_deferral, start, triggerer, kernel_emulator):
        min_deferral(3600)
        trigger = row(invocation_id=start("browsers", count=1, seconds=600), live_view_link=True)
        task = await triggerer.start(trigger, task_instance())
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", BROWSERS)
        task.cancel()
        await asyncio.wait({task})

    async def test_pauses_of_a_sensor_are_kept(self, min_deferral, start, triggerer, kernel_emulator):
        min_deferral(3600)
        task = await triggerer.start(row(invocation_id=start(), poll_delays=[0.02]))
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", ANY, 3)
        task.cancel()
        await asyncio.wait({task})

    @needs_on_kill
    async def test_kill_before_the_first_poll_cancels(
        self, min_deferral, waits, triggerer, supervisor, kernel_emulator, assert_cancelled
    ):
        min_deferral(3600)
        task, invocation_id = await waits(polls=0, stream_logs=True)
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", EVENTS)
        supervisor.states["t"] = "failed"
        await triggerer.kill(task)
        assert_cancelled(invocation_id)

    async def test_polls_of_what_has_no_stream_yet_come_sooner_than_the_interval(
        self, min_deferral, start, triggerer, kernel_emulator, monkeypatch
    ):
        """Nothing else tells of its end."""
        monkeypatch.setenv("AIRFLOW__KERNEL__MAX_STREAMS", "0")
        min_deferral(0.3)
        task = await triggerer.start(row(invocation_id=start(), stream_logs=True, poll_interval=3600))
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", ANY, 3)
        task.cancel()
        await asyncio.wait({task})
