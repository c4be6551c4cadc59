"""The trigger, run from its row by Airflow's own ``TriggerRunner``, against the emulator."""

import asyncio
import json
import sys
import time
from types import SimpleNamespace

import pytest
from airflow.models import crypto
from airflow.models.trigger import Trigger
from cryptography.fernet import Fernet
from support.serialized import smart_decode_trigger_kwargs
from support.triggerer import Triggerer, held_back, task_instance

from airflow_provider_kernel import _compat
from airflow_provider_kernel.client.client import AsyncKernelClient
from airflow_provider_kernel.client.http.concurrency import MAX_CONCURRENT_REQUESTS
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle import trigger as owning_trigger
from airflow_provider_kernel.testing import Fault
from airflow_provider_kernel.triggers._polling import SharedPoller
from airflow_provider_kernel.triggers.invocation import KernelInvocationTrigger

EVENTS = "/invocations/*/events"
ANY = "/invocations/*"
BROWSERS = "/invocations/*/browsers"

#: Whether the triggerer lets go of a trigger, with its second cancellation, while the cancel is still under way.
#: From Python 3.12 on, ``asyncio.wait_for`` runs ``on_kill`` in the trigger's own task, and the triggerer waits for
#: it; before Airflow 3.3, it is ``run`` that sends the cancel.
LETS_GO = sys.version_info < (3, 12) and _compat.triggers_have_on_kill()

pytestmark = pytest.mark.usefixtures("kernel_connection", "supervisor")


@pytest.fixture
def changes(kernel_emulator):
    """The requests that change something: method and path."""
    return lambda: [(r.method, r.path) for r in kernel_emulator.journal if r.method in ("PATCH", "DELETE")]


@pytest.fixture
def assert_cancelled(kernel_emulator, changes):
    """Assert that one cancel was sent and nothing else: fetch, then status, then browsers."""

    def assert_cancelled(invocation_id):
        path = f"/invocations/{invocation_id}"
        assert changes() == [("PATCH", path), ("DELETE", f"{path}/browsers")]
        (patch,) = kernel_emulator.requests("PATCH")
        assert patch.json["status"] == "failed"
        assert json.loads(patch.json["output"]) == {"error": "The Airflow task was killed"}
        asked = [(r.method, r.path) for r in kernel_emulator.journal]
        assert asked[asked.index(("PATCH", path)) - 1] == ("GET", path)
        assert kernel_emulator.invocation(invocation_id).status == "failed"
        assert kernel_emulator.invocation(invocation_id).browsers == 0

    return assert_cancelled


@pytest.fixture
def waits(kernel_emulator, start, triggerer, supervisor):
    """Start a trigger that waits for an invocation with a browser; return its task and the invocation's id."""

    async def waits(*, ti=None, polls=1, **arguments):
        invocation_id = start("browsers", count=1, seconds=600)
        kernel_emulator.wait_until(lambda: kernel_emulator.invocation(invocation_id).browsers == 1)
        ti = ti or task_instance()
        mapped = ti.map_index >= 0
        supervisor.states[f"{ti.task_id}_{ti.map_index}" if mapped else ti.task_id] = "deferred"
        supervisor.xcoms[ti.task_id, ti.map_index, "invocation_id"] = invocation_id
        trigger = KernelInvocationTrigger(
            invocation_id=invocation_id, **{"poll_interval": 3600, "stream_logs": False, **arguments}
        )
        task = await triggerer.start(trigger, ti)
        before = len(kernel_emulator.requests("GET", ANY))
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", ANY, before + polls)
        return task, invocation_id

    return waits


@pytest.fixture
def stale_answer():
    """An answer to a poll that lags behind."""

    def stale_answer(invocation_id, status):
        answer = {"id": invocation_id, "status": status, "app_name": "demo", "action_name": "hang"}
        return {**answer, "version": "latest", "started_at": "2026-01-01T00:00:00Z"}

    return stale_answer


def row(**arguments):
    return KernelInvocationTrigger(
        **{"invocation_id": "i", "poll_interval": 0.02, "stream_logs": False, **arguments}
    )


async def killed_but_not_done(triggerer, task):
    """Kill a trigger whose cancel is held; return what to await once it goes on."""
    killing = asyncio.create_task(triggerer.kill(task))
    while not owning_trigger._ends:  # noqa: ASYNC110 (nothing to wait on)
        await asyncio.sleep(0)
    if LETS_GO:
        await killing
    assert owning_trigger._ends
    return killing


async def cancels_are_done():
    """Wait for the cancels: the triggerer ends a trigger although its cancel is still under way."""
    while owning_trigger._ends:
        await asyncio.wait(owning_trigger._ends)


@pytest.mark.parametrize("status", ["succeeded", "failed"])
@pytest.mark.parametrize("stream_logs", [False, True])
async def test_trigger_sends_one_event_at_the_end_and_changes_nothing(
    status, stream_logs, start, triggerer, kernel_emulator, changes
):
    invocation_id = start()
    task = await triggerer.start(row(invocation_id=invocation_id, stream_logs=stream_logs))
    await asyncio.to_thread(kernel_emulator.wait_for, "GET", ANY)
    kernel_emulator.finish(invocation_id, status, {"secret": "output"})
    await task
    assert triggerer.events == [{"invocation_id": invocation_id, "status": "finished"}]
    assert changes() == []


@pytest.fixture
def no_short_waits(monkeypatch):
    monkeypatch.setattr("airflow_provider_kernel.client.resources.invocations.wait._FIRST_SECONDS", 3600)


async def test_end_in_the_stream_ends_the_wait(no_short_waits, start, triggerer, kernel_emulator, changes):
    invocation_id = start()
    task = await triggerer.start(row(invocation_id=invocation_id, stream_logs=True, poll_interval=3600))
    await asyncio.to_thread(kernel_emulator.wait_for, "GET", ANY)
    await asyncio.to_thread(kernel_emulator.wait_for, "GET", EVENTS)
    kernel_emulator.finish(invocation_id)
    await task
    assert triggerer.events == [{"invocation_id": invocation_id, "status": "finished"}]
    assert len(kernel_emulator.requests("GET", ANY)) == 2
    assert changes() == []


async def test_end_in_the_stream_that_polls_do_not_confirm_causes_one_poll_only(
    no_short_waits, start, triggerer, kernel_emulator, stale_answer
):
    """The polls after the stream's event still say "running": no reason to poll without a pause."""
    invocation_id = start("echo")
    kernel_emulator.wait_for_status(invocation_id, "succeeded")
    kernel_emulator.add_fault(Fault("GET", ANY, nth=None, body=stale_answer(invocation_id, "running")))
    arguments = {"stream_logs": True, "poll_interval": 3600, "deadline": time.time() + 0.5}
    await (await triggerer.start(row(invocation_id=invocation_id, **arguments)))
    assert triggerer.events == [{"invocation_id": invocation_id, "status": "timeout"}]
    assert len(kernel_emulator.requests("GET", ANY)) == 3  # at first, after the stream's event, at the deadline


async def test_deadline_sends_a_timeout_and_leaves_the_invocation_to_the_worker(
    start, triggerer, kernel_emulator, changes
):
    invocation_id = start()
    await (await triggerer.start(row(invocation_id=invocation_id, deadline=time.time() + 0.2, poll_interval=60)))
    assert triggerer.events == [{"invocation_id": invocation_id, "status": "timeout"}]
    assert changes() == []
    assert kernel_emulator.invocation(invocation_id).status == "running"


@pytest.fixture
def error(start, triggerer, changes, kernel_emulator):
    async def error(**arguments):
        await (await triggerer.start(row(**{"invocation_id": start(), **arguments})))
        (event,) = triggerer.events
        assert event.pop("invocation_id")
        assert event.pop("status") == "error"
        assert changes() == []
        assert kernel_emulator.api_key not in json.dumps(event)
        return event["error"]

    return error


@pytest.mark.usefixtures("contact_is_soon_lost")
async def test_lost_contact_sends_an_error(error, kernel_emulator):
    kernel_emulator.add_fault(Fault("GET", ANY, nth=None, status=500))
    assert (await error(poll_interval=0.001)).startswith("KernelLostContactError: Lost contact with invocation ")
    assert len(kernel_emulator.requests("GET", ANY)) == 20


async def test_revoked_key_sends_an_error_without_the_key(error, kernel_emulator):
    body = {"code": "unauthorized", "message": f"the key {kernel_emulator.api_key} is revoked"}
    kernel_emulator.add_fault(Fault("GET", ANY, nth=None, status=401, body=body))
    assert (await error()).startswith("KernelAuthenticationError: ")


async def test_invocation_that_is_gone_sends_an_error(error, kernel_emulator):
    kernel_emulator.add_fault(Fault("GET", ANY, nth=range(2, 99), status=404))
    assert (await error()).startswith("KernelNotFoundError: ")


async def test_unknown_invocation_sends_an_error(error):
    assert (await error(invocation_id="nobody", is_new=False)).startswith("KernelNotFoundError: ")


async def test_missing_connection_sends_an_error(error):
    assert "There is no Airflow connection 'gone'" in await error(kernel_conn_id="gone")


async def test_malformed_connection_sends_an_error(error, monkeypatch, kernel_emulator):
    connection = {**json.loads(kernel_emulator.airflow_connection), "host": "https://api.invalid/path"}
    monkeypatch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", json.dumps(connection))
    assert (await error()).startswith("KernelConfigurationError: ")


async def test_crash_of_the_trigger_is_left_to_airflow(waits, triggerer, changes, monkeypatch):
    def crash(self, invocation):
        raise RuntimeError("crash")

    monkeypatch.setattr(KernelInvocationTrigger, "_wait", crash)
    task = await triggerer.start(row(), task_instance())
    await asyncio.wait({task})
    with pytest.raises(RuntimeError, match="crash"):
        task.result()
    assert triggerer.events == []
    assert changes() == []


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
    supervisor.xcoms["t", -1, "invocation_id"] = other
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
    monkeypatch.setattr(owning_trigger, "_END_READ_SECONDS", 0.3)
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


async def test_failed_cancel_is_logged(waits, triggerer, supervisor, kernel_emulator, log):
    task, invocation_id = await waits()
    kernel_emulator.add_fault(Fault("PATCH", ANY, nth=None, status=403))
    supervisor.states["t"] = "failed"
    await triggerer.kill(task)
    await cancels_are_done()
    (error,) = [text for level, text in log() if level == "ERROR"]
    assert error.startswith(f"Invocation {invocation_id} could not be cancelled: ")
    assert "403" in error


async def test_cancel_that_takes_too_long_is_logged(
    waits, triggerer, supervisor, kernel_emulator, log, monkeypatch
):
    monkeypatch.setattr(owning_trigger, "_END_SECONDS", 0.2)
    task, invocation_id = await waits()
    fault = kernel_emulator.add_fault(Fault("PATCH", ANY, nth=None, hold=True))
    supervisor.states["t"] = "failed"
    await triggerer.kill(task)
    await cancels_are_done()
    fault.release()
    assert ("ERROR", f"Invocation {invocation_id} could not be cancelled: no answer in time") in log()


async def test_kill_without_cancel_on_kill_leaves_the_invocation(waits, triggerer, supervisor, changes):
    task, _ = await waits(cancel_on_kill=False)
    supervisor.states["t"] = "failed"
    await triggerer.kill(task)
    await cancels_are_done()
    assert changes() == []
    assert not [message for message in supervisor.asked if message.type == "GetTaskStates"]


@pytest.mark.usefixtures("contact_is_soon_lost")
@pytest.mark.parametrize("status", ["finished", "timeout", "error"])
async def test_kill_after_the_event_leaves_the_invocation_to_the_worker(
    status, start, triggerer, supervisor, kernel_emulator, changes, stale_answer, monkeypatch
):
    """A trigger may linger after its event; the worker has taken over by then."""
    monkeypatch.setattr("airflow_provider_kernel.client.resources.invocations.wait.MAX_FAILED_POLLS", 1)
    invocation_id = start()
    arguments = {}
    if status == "finished":
        kernel_emulator.add_fault(Fault("GET", ANY, body=stale_answer(invocation_id, "succeeded")))
    elif status == "timeout":
        arguments["deadline"] = time.time() - 1
    else:
        kernel_emulator.add_fault(Fault("GET", ANY, status=500))
    lingers = asyncio.Event()

    async def ainfo(text, **fields):
        # The runner is slow between the event and the trigger's end.
        if text == "Trigger fired event":
            lingers.set()
            await asyncio.Event().wait()

    triggerer.runner.log = SimpleNamespace(info=lambda *args, **fields: None, ainfo=ainfo)
    task = await triggerer.start(row(invocation_id=invocation_id, **arguments), task_instance())
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


needs_on_kill = pytest.mark.needs_airflow(
    "3.3", "before, a trigger cannot know that a user acted, and in doubt it leaves the invocation"
)


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


@pytest.mark.parametrize("stream_logs", [False, True])
async def test_stop_of_the_triggerer_changes_nothing_and_another_one_goes_on(
    stream_logs, waits, triggerer, supervisor, kernel_emulator, changes
):
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


ARGUMENTS = {
    "invocation_id": "inv_1",
    "kernel_conn_id": "kernel_other",
    "poll_interval": 2.5,
    "deadline": 1234567890.25,
    "cancel_on_kill": False,
    "stream_logs": False,
    "max_log_lines": 7,
    "is_new": False,
    "live_view_link": True,
}


def forget_key():
    """Have Airflow read its Fernet key anew."""
    if hasattr(crypto, "_fernet"):  # Airflow 3.1
        crypto._fernet = None
    else:
        crypto.get_fernet.cache_clear()


@pytest.fixture
def encrypted(monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", Fernet.generate_key().decode())
    forget_key()
    yield
    forget_key()


@pytest.mark.usefixtures("encrypted")
@pytest.mark.parametrize("arguments", [ARGUMENTS, {"invocation_id": "inv_1"}], ids=["all", "defaults"])
def test_row_makes_the_same_trigger_again(arguments):
    classpath, kwargs = KernelInvocationTrigger(**arguments).serialize()
    stored = Trigger.encrypt_kwargs(kwargs)
    assert "inv_1" not in stored
    read = {k: smart_decode_trigger_kwargs(v) for k, v in Trigger._decrypt_kwargs(stored).items()}
    assert json.loads(json.dumps(kwargs)) == kwargs == read
    trigger_class = Triggerer().runner.get_trigger_by_classpath(classpath)
    assert trigger_class is KernelInvocationTrigger
    assert trigger_class(**read).serialize() == (classpath, kwargs)
    assert kwargs.items() >= arguments.items()


@pytest.mark.usefixtures("encrypted")
async def test_row_holds_no_secret_after_a_run(start, kernel_emulator, changes):
    trigger = row(invocation_id=start("echo", word="payload"), stream_logs=True)
    before = trigger.serialize()
    (event,) = [event async for event in trigger.run()]
    assert trigger.serialize() == before
    assert set(before[1]) == set(ARGUMENTS)
    assert all(isinstance(value, (str, int, float, bool, type(None))) for value in before[1].values())
    shown = json.dumps(before) + json.dumps(event.payload)
    assert kernel_emulator.api_key not in shown
    assert "payload" not in shown


async def test_connection_is_read_once_and_first(start, triggerer, reads, kernel_emulator, monkeypatch):
    requests_before = []
    invocation_id = start()
    init = AsyncKernelClient.__init__

    def recorded(self, config, **arguments):
        requests_before.append((list(reads), len(kernel_emulator.requests("GET"))))
        init(self, config, **arguments)

    monkeypatch.setattr(AsyncKernelClient, "__init__", recorded)
    task = await triggerer.start(row(invocation_id=invocation_id, stream_logs=True))
    await asyncio.to_thread(kernel_emulator.wait_for, "GET", ANY, 3)
    kernel_emulator.finish(invocation_id)
    await task
    assert reads == ["kernel_default"]
    assert requests_before == [(["kernel_default"], 0)]


async def test_kill_does_not_read_the_connection_again(waits, triggerer, reads, supervisor, assert_cancelled):
    task, invocation_id = await waits()
    supervisor.states["t"] = "failed"
    await triggerer.kill(task)
    await cancels_are_done()
    assert_cancelled(invocation_id)
    assert reads == ["kernel_default"]


async def test_log_lines_are_written_once_and_before_the_event(start, triggerer, lines, kernel_emulator):
    # The last lines come after the poll that finds the end.
    kernel_emulator.add_fault(Fault("GET", EVENTS, delay=0.3))
    invocation_id = start("logs", lines=200)
    kernel_emulator.wait_for_status(invocation_id, "succeeded")
    shown = []
    events = triggerer.runner.events

    class Events(type(events)):
        def append(self, event):
            shown.extend(lines())
            super().append(event)

    triggerer.runner.events = Events()
    await (await triggerer.start(row(invocation_id=invocation_id, stream_logs=True)))
    assert shown == [f"line {number}" for number in range(1, 201)]
    assert lines() == shown
    assert len(triggerer.events) == 1


async def test_log_has_max_log_lines(start, triggerer, lines, log):
    task = await triggerer.start(row(invocation_id=start("logs", lines=50), stream_logs=True, max_log_lines=10))
    await task
    assert lines() == [f"line {number}" for number in range(1, 11)]
    assert ("INFO", "40 more lines of the invocation were left out (max_log_lines is 10)") in log()


async def test_log_has_no_lines_without_stream_logs(start, triggerer, lines, kernel_emulator):
    await (await triggerer.start(row(invocation_id=start("logs", lines=5))))
    assert lines() == []
    assert kernel_emulator.requests("GET", EVENTS) == ()


@pytest.mark.parametrize("status", [404, 401, 403])
async def test_log_stream_that_is_refused_leaves_the_polls(status, start, triggerer, log, kernel_emulator):
    kernel_emulator.add_fault(Fault("GET", EVENTS, nth=None, status=status))
    invocation_id = start()
    task = await triggerer.start(row(invocation_id=invocation_id, stream_logs=True))
    await asyncio.to_thread(kernel_emulator.wait_for, "GET", ANY, 3)
    kernel_emulator.finish(invocation_id)
    await task
    assert triggerer.events == [{"invocation_id": invocation_id, "status": "finished"}]
    (warning,) = [text for level, text in log() if level == "WARNING"]
    assert warning.startswith("The invocation's log lines are not shown from here on: ")
    assert str(status) in warning


async def test_log_stream_that_keeps_failing_does_not_delay_the_event(
    start, triggerer, kernel_emulator, monkeypatch
):
    monkeypatch.setattr("airflow_provider_kernel.task_log.writer.DRAIN_SECONDS", 0.1)
    kernel_emulator.add_fault(Fault("GET", EVENTS, nth=None, status=500))
    await (await triggerer.start(row(invocation_id=start("echo"), stream_logs=True)))
    assert len(triggerer.events) == 1


async def test_log_says_what_happens_to_the_invocation(start, triggerer, log, kernel_emulator):
    invocation_id = start()
    kernel_emulator.add_fault(Fault("GET", ANY, nth=(2, 3), status=503))
    task = await triggerer.start(row(invocation_id=invocation_id))
    await asyncio.to_thread(kernel_emulator.wait_for, "GET", ANY, 4)
    kernel_emulator.finish(invocation_id)
    await task
    logged = log()
    assert logged[0] == ("INFO", f"Invocation {invocation_id} is running")
    assert logged[-1] == ("INFO", f"Invocation {invocation_id} has succeeded")
    (trouble,) = [text for level, text in logged if level == "WARNING"]
    assert "503" in trouble
    assert trouble.endswith("; polling again")


@pytest.mark.parametrize(
    ("count", "stream_logs"), [(1000, False), (100, True)], ids=["1,000", "100 with their logs"]
)
async def test_thousand_triggers_share_one_client(
    count, stream_logs, start, triggerer, clients, kernel_emulator, changes, monkeypatch
):
    async def nothing(*args, **fields):
        pass

    all_wait = asyncio.Event()
    subscribe = SharedPoller.subscribe
    subscribed = []

    def counted(poller, subscribed_id, **options):
        subscribed.append(subscribed_id)
        if len(subscribed) == count:
            all_wait.set()
        return subscribe(poller, subscribed_id, **options)

    monkeypatch.setattr(SharedPoller, "subscribe", counted)
    triggerer.runner.log = SimpleNamespace(info=lambda *args, **fields: None, ainfo=nothing)
    # One invocation serves for all: the emulator has a thread for each, which is beside the point.
    invocation_id = start()
    trigger = row(invocation_id=invocation_id, stream_logs=stream_logs, poll_interval=1)
    tasks = [await triggerer.start(trigger, task_instance()) for _ in range(count)]
    await asyncio.wait_for(all_wait.wait(), 30)
    if stream_logs:
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", EVENTS, count)
    (client,) = clients
    assert len(client._http._transport._pool.connections) <= MAX_CONCURRENT_REQUESTS
    kernel_emulator.finish(invocation_id)
    await asyncio.gather(*tasks)
    assert triggerer.events == [{"invocation_id": invocation_id, "status": "finished"}] * count
    assert len(clients) == 1
    assert changes() == []
