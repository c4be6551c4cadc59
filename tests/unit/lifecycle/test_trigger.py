"""The base of the triggers that own something, with a kind of object that it does not know by name."""

import asyncio
import threading
import time

import pytest
from support.dag_callbacks import ownership
from support.triggerer import task_instance

from airflow_provider_kernel import _compat
from airflow_provider_kernel.client.client import AsyncKernelClient
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle import trigger as owning_trigger
from airflow_provider_kernel.lifecycle.ownership import OwnershipRecord
from airflow_provider_kernel.lifecycle.trigger import OwningTrigger
from airflow_provider_kernel.owned.invocation import EndableInvocation
from airflow_provider_kernel.testing import Fault


class EndableErrand(EndableInvocation):
    """Another kind of object, which happens to be an invocation."""

    kind = "errand"


class ErrandTrigger(OwningTrigger):
    resource = EndableErrand()

    def open_client(self, config):
        return AsyncKernelClient(config)

    def serialize(self):
        raise NotImplementedError

    async def run(self):
        raise NotImplementedError
        yield


@pytest.fixture
def make_trigger(kernel_emulator, kernel_connection, supervisor):
    """Make a trigger of a deferred task that waits for a running object."""

    def make_trigger(**arguments):
        with KernelHook() as hook:
            external_id = hook.invoke("demo", "hang").id
        arguments = {"kernel_conn_id": "kernel_default", "cancel_on_kill": True, **arguments}
        trigger = ErrandTrigger(external_id=external_id, **arguments)
        trigger.task_instance = task_instance()
        supervisor.states["t"] = "deferred"
        supervisor.xcoms["t", -1, "kernel_errand_owner"] = ownership(external_id)
        return trigger

    return make_trigger


@pytest.fixture
def status(kernel_emulator):
    return lambda trigger: kernel_emulator.invocation(trigger.external_id).status


async def test_trigger_kill_ends_the_object_of_a_task_that_no_longer_waits(make_trigger, supervisor, status):
    trigger = make_trigger()
    supervisor.states["t"] = "failed"
    await trigger.on_kill()
    assert status(trigger) == "failed"


async def test_trigger_kill_leaves_the_object_of_a_task_that_still_waits_for_it(make_trigger, status):
    trigger = make_trigger()
    await trigger.on_kill()
    assert status(trigger) == "running"


async def test_trigger_kill_ends_the_object_of_a_task_that_waits_for_a_later_one(make_trigger, supervisor, status):
    trigger = make_trigger()
    supervisor.xcoms["t", -1, "kernel_errand_owner"] = ownership("of a later try")
    await trigger.on_kill()
    assert status(trigger) == "failed"


@pytest.fixture
def taken_up(supervisor):
    """Let the next try of the task own an object: it runs, and has not deferred yet."""

    def taken_up(trigger, *, try_number=2):
        supervisor.states["t"] = "running"
        ownership = OwnershipRecord(trigger.external_id, "token", try_number, "kernel_default", is_owned=True)
        supervisor.xcoms["t", -1, "kernel_errand_owner"] = ownership._asdict()

    return taken_up


async def test_trigger_kill_leaves_the_object_that_the_next_try_has_taken_up(make_trigger, taken_up, status):
    trigger = make_trigger()
    taken_up(trigger)
    await trigger.on_kill()
    assert status(trigger) == "running"


async def test_trigger_deadline_leaves_the_object_that_the_next_try_has_taken_up(make_trigger, taken_up, status):
    trigger = make_trigger()
    taken_up(trigger)
    assert await trigger.end_overdue("it takes too long") is None
    assert status(trigger) == "running"


async def test_trigger_deadline_ends_the_object_of_its_own_try(make_trigger, taken_up, status):
    trigger = make_trigger()
    taken_up(trigger, try_number=1)
    assert (await trigger.end_overdue("it takes too long")).is_done
    assert status(trigger) == "failed"


async def test_trigger_deadline_ends_the_object_when_airflow_does_not_answer(make_trigger, supervisor, status):
    trigger = make_trigger()

    def refuse(message):
        raise RuntimeError("no answer")

    supervisor.hold = refuse
    assert (await trigger.end_overdue("it takes too long")).is_done
    assert status(trigger) == "failed"


async def test_trigger_deadline_waits_for_airflow_and_kernel_together_no_longer_than_for_one(
    make_trigger, supervisor, kernel_emulator, status, monkeypatch
):
    monkeypatch.setattr(owning_trigger, "_OVERDUE_SECONDS", 2.0)
    trigger = make_trigger()
    airflow_answers = threading.Event()
    supervisor.hold = lambda message: airflow_answers.wait(30)
    end = kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", hold=True))
    began = time.monotonic()
    assert await trigger.end_overdue("it takes too long") is None
    assert time.monotonic() - began < 3.5
    airflow_answers.set()
    end.release()
    await asyncio.wait(owning_trigger._ends)
    assert status(trigger) == "failed"


async def test_trigger_kill_ends_the_object_when_no_task_instance_is_known(make_trigger, status):
    trigger = make_trigger()
    trigger.task_instance = None
    await trigger.on_kill()
    assert status(trigger) == "failed"


async def test_trigger_kill_leaves_a_released_object(make_trigger, supervisor, status):
    trigger = make_trigger()
    supervisor.states["t"] = "failed"
    trigger.release()
    await trigger.on_kill()
    assert status(trigger) == "running"


async def test_trigger_kill_leaves_an_object_that_nobody_owns(make_trigger, supervisor, status):
    trigger = make_trigger(cancel_on_kill=False)
    supervisor.states["t"] = "failed"
    await trigger.on_kill()
    assert status(trigger) == "running"
    assert supervisor.asked == []


async def test_trigger_end_goes_on_while_on_kill_is_cancelled_again_and_again(
    make_trigger, supervisor, status, kernel_emulator
):
    trigger = make_trigger()
    supervisor.states["t"] = "failed"
    fault = kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", hold=True))
    killing = asyncio.create_task(trigger.on_kill())
    await asyncio.to_thread(fault.wait_until_held)
    for _ in range(3):
        killing.cancel()
        await asyncio.wait({killing}, timeout=0.01)
    assert not killing.done()
    fault.release()
    await killing
    assert status(trigger) == "failed"
    assert not owning_trigger._ends


async def test_trigger_run_that_is_cancelled_leaves_the_object_where_airflow_has_on_kill(
    make_trigger, supervisor, status, monkeypatch
):
    monkeypatch.setattr(_compat, "triggers_have_on_kill", lambda: True)
    trigger = make_trigger()
    supervisor.states["t"] = "failed"
    await trigger.on_cancelled()
    assert status(trigger) == "running"


@pytest.mark.parametrize(("state", "expected"), [("failed", "failed"), ("deferred", "running")])
async def test_trigger_run_that_is_cancelled_ends_the_object_where_airflow_has_no_on_kill(
    state, expected, make_trigger, supervisor, status, monkeypatch
):
    monkeypatch.setattr(_compat, "triggers_have_on_kill", lambda: False)
    trigger = make_trigger()
    supervisor.states["t"] = state
    await trigger.on_cancelled()
    assert status(trigger) == expected


async def test_trigger_end_that_failed_is_logged_with_the_kind_and_id(make_trigger, supervisor, monkeypatch):
    trigger = make_trigger(kernel_conn_id="gone")
    monkeypatch.setattr(supervisor, "_answer", lambda message: 1 / 0)
    order = owning_trigger._KILLED._replace(seconds=0.0, attempt_seconds=0.1)
    monkeypatch.setattr(owning_trigger, "_KILLED", order)
    logged = []
    monkeypatch.setattr(ErrandTrigger, "log", property(lambda self: Recorder(logged)))
    await trigger.on_kill()
    assert logged[0] == "The state of the task could not be fetched: division by zero"
    assert logged[-1].startswith(f"Errand {trigger.external_id} could not be ended: ")


class Recorder:
    def __init__(self, lines):
        self._lines = lines

    def warning(self, text, *arguments):
        self._lines.append(text % arguments)

    def log(self, level, text):
        self._lines.append(text)
