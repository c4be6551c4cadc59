"""The trigger, run by Airflow's own ``TriggerRunner`` from what is in its row, against the emulator."""

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
from airflow_provider_kernel.client.client import _REQUESTS_AT_ONCE, AsyncKernelClient
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
    """What was asked of Kernel beside looking: method and path."""
    return lambda: [(r.method, r.path) for r in kernel_emulator.journal if r.method in ("PATCH", "DELETE")]


@pytest.fixture
def assert_cancelled(kernel_emulator, changes):
    """Nothing but one cancel was sent: a look, then the status, then the browsers."""

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
    """A trigger that waits, for an invocation with a browser; gives its task and the invocation's id."""

    async def waits(*, ti=None, looks=1, **arguments):
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
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", ANY, before + looks)
        return task, invocation_id

    return waits


@pytest.fixture
def stale_look():
    """What a look says that does not know the truth (yet)."""

    def stale_look(invocation_id, status):
        look = {"id": invocation_id, "status": status, "app_name": "demo", "action_name": "hang"}
        return {**look, "version": "latest", "started_at": "2026-01-01T00:00:00Z"}

    return stale_look


def row(**arguments):
    return KernelInvocationTrigger(
        **{"invocation_id": "i", "poll_interval": 0.02, "stream_logs": False, **arguments}
    )


async def killed_but_not_done(triggerer, task):
    """Kill a trigger whose cancel is held up; returns what is to be awaited when it goes on."""
    killing = asyncio.create_task(triggerer.kill(task))
    while not owning_trigger._ends:  # noqa: ASYNC110 (nobody tells)
        await asyncio.sleep(0)
    if LETS_GO:
        await killing
    assert owning_trigger._ends
    return killing


async def cancels_are_done():
    """The triggerer ends a trigger although its cancel is still under way."""
    while owning_trigger._ends:
        await asyncio.wait(owning_trigger._ends)


class TestTheEnd:
    @pytest.mark.parametrize("status", ["succeeded", "failed"])
    @pytest.mark.parametrize("stream_logs", [False, True])
    async def test_it_says_so_once_and_changes_nothing(
        self, status, stream_logs, start, triggerer, kernel_emulator, changes
    ):
        invocation_id = start()
        task = await triggerer.start(row(invocation_id=invocation_id, stream_logs=stream_logs))
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", ANY)
        kernel_emulator.finish(invocation_id, status, {"secret": "output"})
        await task
        assert triggerer.events == [{"invocation_id": invocation_id, "status": "finished"}]
        assert changes() == []

    @pytest.fixture
    def no_short_waits(self, monkeypatch):
        monkeypatch.setattr("airflow_provider_kernel.client.resources.invocations.wait._FIRST_SECONDS", 3600)

    async def test_its_stream_ends_the_wait(self, no_short_waits, start, triggerer, kernel_emulator, changes):
        invocation_id = start()
        task = await triggerer.start(row(invocation_id=invocation_id, stream_logs=True, poll_interval=3600))
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", ANY)
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", EVENTS)
        kernel_emulator.finish(invocation_id)
        await task
        assert triggerer.events == [{"invocation_id": invocation_id, "status": "finished"}]
        assert len(kernel_emulator.requests("GET", ANY)) == 2
        assert changes() == []

    async def test_a_stream_that_is_early_ends_one_wait_only(
        self, no_short_waits, start, triggerer, kernel_emulator, stale_look
    ):
        """The looks after the stream's word still say that it runs: no reason to look without a pause."""
        invocation_id = start("echo")
        kernel_emulator.wait_for_status(invocation_id, "succeeded")
        kernel_emulator.add_fault(Fault("GET", ANY, nth=None, body=stale_look(invocation_id, "running")))
        arguments = {"stream_logs": True, "poll_interval": 3600, "deadline": time.time() + 0.5}
        await (await triggerer.start(row(invocation_id=invocation_id, **arguments)))
        assert triggerer.events == [{"invocation_id": invocation_id, "status": "timeout"}]
        assert len(kernel_emulator.requests("GET", ANY)) == 3  # at first, at the stream's word, at the deadline

    async def test_a_deadline_that_passes_is_told_and_left_to_the_worker(
        self, start, triggerer, kernel_emulator, changes
    ):
        invocation_id = start()
        await (
            await triggerer.start(row(invocation_id=invocation_id, deadline=time.time() + 0.2, poll_interval=60))
        )
        assert triggerer.events == [{"invocation_id": invocation_id, "status": "timeout"}]
        assert changes() == []
        assert kernel_emulator.invocation(invocation_id).status == "running"


class TestErrors:
    @pytest.fixture
    def error(self, start, triggerer, changes, kernel_emulator):
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
    async def test_lost_contact(self, error, kernel_emulator):
        kernel_emulator.add_fault(Fault("GET", ANY, nth=None, status=500))
        assert (await error(poll_interval=0.001)).startswith(
            "KernelLostContactError: Lost contact with invocation "
        )
        assert len(kernel_emulator.requests("GET", ANY)) == 20

    async def test_a_key_that_no_longer_holds_and_comes_back_in_the_answer(self, error, kernel_emulator):
        body = {"code": "unauthorized", "message": f"the key {kernel_emulator.api_key} is revoked"}
        kernel_emulator.add_fault(Fault("GET", ANY, nth=None, status=401, body=body))
        assert (await error()).startswith("KernelAuthenticationError: ")

    async def test_an_invocation_that_is_gone(self, error, kernel_emulator):
        kernel_emulator.add_fault(Fault("GET", ANY, nth=range(2, 99), status=404))
        assert (await error()).startswith("KernelNotFoundError: ")

    async def test_an_invocation_that_never_was(self, error):
        assert (await error(invocation_id="nobody", is_new=False)).startswith("KernelNotFoundError: ")

    async def test_no_connection(self, error):
        assert "There is no Airflow connection 'gone'" in await error(kernel_conn_id="gone")

    async def test_a_connection_that_cannot_work(self, error, monkeypatch, kernel_emulator):
        connection = {**json.loads(kernel_emulator.airflow_connection), "host": "https://api.invalid/path"}
        monkeypatch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", json.dumps(connection))
        assert (await error()).startswith("KernelConfigurationError: ")

    async def test_a_crash_is_airflows_to_tell(self, waits, triggerer, changes, monkeypatch):
        def crash(self, invocation):
            raise RuntimeError("crash")

        monkeypatch.setattr(KernelInvocationTrigger, "_wait", crash)
        task = await triggerer.start(row(), task_instance())
        await asyncio.wait({task})
        with pytest.raises(RuntimeError, match="crash"):
            task.result()
        assert triggerer.events == []
        assert changes() == []


class TestAUsersKill:
    @pytest.mark.parametrize(
        "state", ["failed", "success", None, "scheduled", "queued", "running", "up_for_retry", "skipped"]
    )
    async def test_it_cancels(self, state, waits, triggerer, supervisor, assert_cancelled, log):
        task, invocation_id = await waits()
        supervisor.states["t"] = state
        await triggerer.kill(task)
        await cancels_are_done()
        assert_cancelled(invocation_id)
        assert triggerer.events == []
        assert any(
            text.startswith(f"Invocation {invocation_id} was cancelled; it is now failed (in ") for _, text in log()
        )

    async def test_no_such_task_any_more(self, waits, triggerer, supervisor, assert_cancelled):
        task, invocation_id = await waits()
        supervisor.states.clear()
        await triggerer.kill(task)
        await cancels_are_done()
        assert_cancelled(invocation_id)

    @pytest.mark.parametrize("other", ["another invocation", None])
    async def test_a_new_try_waits_for_another_invocation(
        self, other, waits, triggerer, supervisor, assert_cancelled
    ):
        task, invocation_id = await waits()
        supervisor.xcoms["t", -1, "invocation_id"] = other
        await triggerer.kill(task)
        await cancels_are_done()
        assert_cancelled(invocation_id)

    async def test_a_mapped_one(self, waits, triggerer, supervisor, assert_cancelled, kernel_emulator):
        """Of two mapped ones, only the one that was marked."""
        task, invocation_id = await waits(ti=task_instance(map_index=0))
        other_task, other_id = await waits(ti=task_instance(map_index=1))
        supervisor.states["t_0"] = "failed"
        await triggerer.kill(task)
        await triggerer.kill(other_task)
        await cancels_are_done()
        assert_cancelled(invocation_id)
        assert kernel_emulator.invocation(other_id).status == "running"

    async def test_while_its_stream_is_open(self, waits, triggerer, supervisor, assert_cancelled, kernel_emulator):
        task, invocation_id = await waits(stream_logs=True)
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", EVENTS)
        supervisor.states["t"] = "failed"
        await triggerer.kill(task)
        await cancels_are_done()
        assert_cancelled(invocation_id)

    async def test_while_a_look_is_under_way(self, start, triggerer, supervisor, kernel_emulator, assert_cancelled):
        fault = kernel_emulator.add_fault(Fault("GET", ANY, hold=True))
        invocation_id = start()
        task = await triggerer.start(row(invocation_id=invocation_id), task_instance())
        await asyncio.to_thread(fault.wait_until_held)
        await triggerer.kill(task)
        await cancels_are_done()
        assert_cancelled(invocation_id)

    async def test_while_the_connection_is_being_read(
        self, start, triggerer, supervisor, reads, assert_cancelled, monkeypatch
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
    async def test_kernel_answers_after_many_of_the_triggerers_loops(
        self, slow, waits, triggerer, supervisor, kernel_emulator, assert_cancelled
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

    async def test_the_look_hangs(
        self, waits, triggerer, supervisor, kernel_emulator, assert_cancelled, monkeypatch
    ):
        monkeypatch.setattr(owning_trigger, "_END_READ_SECONDS", 0.3)
        task, invocation_id = await waits()
        fault = kernel_emulator.add_fault(Fault("GET", ANY, hold=True))
        supervisor.states["t"] = "failed"
        await triggerer.kill(task)
        await cancels_are_done()
        assert_cancelled(invocation_id)
        assert len(kernel_emulator.requests("GET", ANY)) == 2  # of which one was the trigger's own
        fault.release()

    async def test_one_that_has_just_succeeded_keeps_its_result(
        self, waits, triggerer, supervisor, kernel_emulator, changes, log
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

    async def test_a_cancel_that_fails_is_told(self, waits, triggerer, supervisor, kernel_emulator, log):
        task, invocation_id = await waits()
        kernel_emulator.add_fault(Fault("PATCH", ANY, nth=None, status=403))
        supervisor.states["t"] = "failed"
        await triggerer.kill(task)
        await cancels_are_done()
        (error,) = [text for level, text in log() if level == "ERROR"]
        assert error.startswith(f"Invocation {invocation_id} could not be cancelled: ")
        assert "403" in error

    async def test_a_cancel_that_takes_too_long_is_told(
        self, waits, triggerer, supervisor, kernel_emulator, log, monkeypatch
    ):
        monkeypatch.setattr(owning_trigger, "_END_SECONDS", 0.2)
        task, invocation_id = await waits()
        fault = kernel_emulator.add_fault(Fault("PATCH", ANY, nth=None, hold=True))
        supervisor.states["t"] = "failed"
        await triggerer.kill(task)
        await cancels_are_done()
        fault.release()
        assert ("ERROR", f"Invocation {invocation_id} could not be cancelled: no answer in time") in log()

    async def test_without_cancel_on_kill_never(self, waits, triggerer, supervisor, changes):
        task, _ = await waits(cancel_on_kill=False)
        supervisor.states["t"] = "failed"
        await triggerer.kill(task)
        await cancels_are_done()
        assert changes() == []
        assert not [message for message in supervisor.asked if message.type == "GetTaskStates"]

    @pytest.mark.usefixtures("contact_is_soon_lost")
    @pytest.mark.parametrize("status", ["finished", "timeout", "error"])
    async def test_after_the_event_never(
        self, status, start, triggerer, supervisor, kernel_emulator, changes, stale_look, monkeypatch
    ):
        """A trigger that lingers after its event: the worker has taken over, whatever the invocation's state."""
        monkeypatch.setattr("airflow_provider_kernel.client.resources.invocations.wait.MAX_FAILED_POLLS", 1)
        invocation_id = start()
        arguments = {}
        if status == "finished":
            kernel_emulator.add_fault(Fault("GET", ANY, body=stale_look(invocation_id, "succeeded")))
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


class TestAnotherTriggererHasTakenOver:
    async def test_nothing_is_sent_and_it_says_so(self, waits, triggerer, changes, kernel_emulator, log):
        task, invocation_id = await waits()
        await triggerer.kill(task)
        await cancels_are_done()
        assert changes() == []
        assert kernel_emulator.invocation(invocation_id).status == "running"
        assert ("INFO", f"The task still waits for invocation {invocation_id} elsewhere; it is left alone") in log()

    async def test_a_mapped_one(self, waits, triggerer, changes, supervisor):
        task, _ = await waits(ti=task_instance(map_index=3))
        supervisor.states["t"] = "failed"  # nobody's: a mapped task has no such state
        await triggerer.kill(task)
        await cancels_are_done()
        assert changes() == []

    async def test_although_airflow_takes_long_to_say_so(self, waits, triggerer, changes, supervisor):
        task, _ = await waits()
        with held_back() as supervisor.hold:
            killing = await killed_but_not_done(triggerer, task)
        await killing
        await cancels_are_done()
        assert changes() == []


@pytest.mark.needs_airflow(
    "3.3", "before, a trigger cannot know that a user acted, and in doubt it spares (see below)"
)
class TestAirflowDoesNotAnswer:
    @pytest.fixture
    def fails(self, supervisor):
        def fail(message):
            raise ConnectionError("the supervisor is gone")

        supervisor.hold = fail

    async def test_a_user_acted_and_it_cancels(self, waits, triggerer, fails, assert_cancelled, log):
        task, invocation_id = await waits()
        await triggerer.kill(task)
        await cancels_are_done()
        assert_cancelled(invocation_id)
        assert ("WARNING", "The state of the task could not be fetched: the supervisor is gone") in log()

    async def test_it_never_answers(self, waits, triggerer, supervisor, assert_cancelled, log, monkeypatch):
        monkeypatch.setattr(owning_trigger, "_STATE_SECONDS", 0.2)
        task, invocation_id = await waits()
        with held_back() as supervisor.hold:
            await triggerer.kill(task)
            await cancels_are_done()
            assert_cancelled(invocation_id)
        assert ("WARNING", "The state of the task could not be fetched: no answer in time") in log()

    async def test_it_answers_late(self, waits, triggerer, supervisor, assert_cancelled):
        task, invocation_id = await waits()
        supervisor.states["t"] = "failed"
        with held_back() as supervisor.hold:
            killing = await killed_but_not_done(triggerer, task)
        await killing
        await cancels_are_done()
        assert_cancelled(invocation_id)


class TestAirflowWithoutOnKill:
    """Before 3.3 a trigger is only cancelled, for a user as for the triggerer's end, and must ask which it is."""

    @pytest.fixture(autouse=True)
    def older(self, monkeypatch):
        monkeypatch.setattr(_compat, "triggers_have_on_kill", lambda: False)

    @pytest.mark.parametrize("map_index", [-1, 0, 7])
    @pytest.mark.parametrize("state", ["failed", "success", None, "running"])
    async def test_it_cancels_when_the_task_is_known_not_to_wait(
        self, state, map_index, waits, triggerer, supervisor, assert_cancelled
    ):
        task, invocation_id = await waits(ti=task_instance(map_index=map_index))
        supervisor.states["t" if map_index < 0 else f"t_{map_index}"] = state
        await triggerer.stop()
        assert task.cancelled()
        assert_cancelled(invocation_id)

    @pytest.mark.parametrize("map_index", [-1, 0])
    async def test_it_spares_when_the_task_waits(self, map_index, waits, triggerer, changes):
        await waits(ti=task_instance(map_index=map_index))
        await triggerer.stop()
        assert changes() == []

    async def test_it_spares_when_that_is_unknown(self, waits, triggerer, supervisor, changes):
        def fail(message):
            raise ConnectionError("the supervisor is gone")

        supervisor.hold = fail
        supervisor.states["t"] = "failed"
        await waits()
        await triggerer.stop()
        assert changes() == []

    async def test_it_spares_without_a_task(self, start, triggerer, kernel_emulator, changes):
        await triggerer.start(row(invocation_id=start()))
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", ANY)
        await triggerer.stop()
        assert changes() == []

    async def test_once_only_although_it_is_cancelled_again_and_again(
        self, waits, triggerer, supervisor, kernel_emulator, assert_cancelled
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

    async def test_without_cancel_on_kill_never(self, waits, triggerer, supervisor, changes):
        await waits(cancel_on_kill=False)
        supervisor.states["t"] = "failed"
        await triggerer.stop()
        assert changes() == []


class TestTheTriggererStops:
    @pytest.mark.parametrize("stream_logs", [False, True])
    async def test_nothing_is_sent_and_it_goes_on_elsewhere(
        self, stream_logs, waits, triggerer, supervisor, kernel_emulator, changes
    ):
        task, invocation_id = await waits(stream_logs=stream_logs)
        await triggerer.stop()
        assert task.cancelled()
        assert changes() == []
        if _compat.triggers_have_on_kill():  # else it had to ask whether it was a user
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


class TestTheRow:
    @pytest.fixture(autouse=True)
    def encrypted(self, monkeypatch):
        monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", Fernet.generate_key().decode())
        forget_key()
        yield
        forget_key()

    @pytest.mark.parametrize("arguments", [ARGUMENTS, {"invocation_id": "inv_1"}], ids=["all", "defaults"])
    def test_it_makes_the_same_trigger_again(self, arguments):
        classpath, kwargs = KernelInvocationTrigger(**arguments).serialize()
        stored = Trigger.encrypt_kwargs(kwargs)
        assert "inv_1" not in stored
        read = {k: smart_decode_trigger_kwargs(v) for k, v in Trigger._decrypt_kwargs(stored).items()}
        assert json.loads(json.dumps(kwargs)) == kwargs == read
        trigger_class = Triggerer().runner.get_trigger_by_classpath(classpath)
        assert trigger_class is KernelInvocationTrigger
        assert trigger_class(**read).serialize() == (classpath, kwargs)
        assert kwargs.items() >= arguments.items()

    async def test_it_holds_no_secret_also_after_a_run(self, start, kernel_emulator, changes):
        trigger = row(invocation_id=start("echo", word="payload"), stream_logs=True)
        before = trigger.serialize()
        (event,) = [event async for event in trigger.run()]
        assert trigger.serialize() == before
        assert set(before[1]) == set(ARGUMENTS)
        assert all(isinstance(value, (str, int, float, bool, type(None))) for value in before[1].values())
        shown = json.dumps(before) + json.dumps(event.payload)
        assert kernel_emulator.api_key not in shown
        assert "payload" not in shown


class TestTheConnection:
    async def test_it_is_read_once_and_before_anything_else(
        self, start, triggerer, reads, kernel_emulator, monkeypatch
    ):
        looks_before = []
        invocation_id = start()
        init = AsyncKernelClient.__init__

        def told(self, config, **arguments):
            looks_before.append((list(reads), len(kernel_emulator.requests("GET"))))
            init(self, config, **arguments)

        monkeypatch.setattr(AsyncKernelClient, "__init__", told)
        task = await triggerer.start(row(invocation_id=invocation_id, stream_logs=True))
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", ANY, 3)
        kernel_emulator.finish(invocation_id)
        await task
        assert reads == ["kernel_default"]
        assert looks_before == [(["kernel_default"], 0)]

    async def test_a_kill_does_not_read_it_again(self, waits, triggerer, reads, supervisor, assert_cancelled):
        task, invocation_id = await waits()
        supervisor.states["t"] = "failed"
        await triggerer.kill(task)
        await cancels_are_done()
        assert_cancelled(invocation_id)
        assert reads == ["kernel_default"]


class TestTheLog:
    async def test_every_line_once_before_the_event(self, start, triggerer, lines, kernel_emulator):
        # Sent one after the other, so that the last ones come after the look that finds the end.
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

    async def test_no_more_than_wanted(self, start, triggerer, lines, log):
        task = await triggerer.start(row(invocation_id=start("logs", lines=50), stream_logs=True, max_log_lines=10))
        await task
        assert lines() == [f"line {number}" for number in range(1, 11)]
        assert ("INFO", "40 more lines of the invocation were left out (max_log_lines is 10)") in log()

    async def test_none_when_not_wanted(self, start, triggerer, lines, kernel_emulator):
        await (await triggerer.start(row(invocation_id=start("logs", lines=5))))
        assert lines() == []
        assert kernel_emulator.requests("GET", EVENTS) == ()

    @pytest.mark.parametrize("status", [404, 401, 403])
    async def test_a_stream_that_is_gone_for_good_leaves_the_looks(
        self, status, start, triggerer, log, kernel_emulator
    ):
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

    async def test_a_stream_that_keeps_failing_does_not_hold_up_the_event(
        self, start, triggerer, kernel_emulator, monkeypatch
    ):
        monkeypatch.setattr("airflow_provider_kernel.triggers.log_stream.DRAIN_SECONDS", 0.1)
        kernel_emulator.add_fault(Fault("GET", EVENTS, nth=None, status=500))
        await (await triggerer.start(row(invocation_id=start("echo"), stream_logs=True)))
        assert len(triggerer.events) == 1

    async def test_what_happens_is_told(self, start, triggerer, log, kernel_emulator):
        invocation_id = start()
        kernel_emulator.add_fault(Fault("GET", ANY, nth=(2, 3), status=503))
        task = await triggerer.start(row(invocation_id=invocation_id))
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", ANY, 4)
        kernel_emulator.finish(invocation_id)
        await task
        told = log()
        assert told[0] == ("INFO", f"Invocation {invocation_id} is running")
        assert told[-1] == ("INFO", f"Invocation {invocation_id} has succeeded")
        (trouble,) = [text for level, text in told if level == "WARNING"]
        assert "503" in trouble
        assert trouble.endswith("; polling again")


class TestMany:
    @pytest.mark.parametrize(
        ("count", "stream_logs"), [(1000, False), (100, True)], ids=["1,000", "100 with their logs"]
    )
    async def test_one_client_for_all(
        self, count, stream_logs, start, triggerer, clients, kernel_emulator, changes, monkeypatch
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
        assert len(client._http._transport._pool.connections) <= _REQUESTS_AT_ONCE
        kernel_emulator.finish(invocation_id)
        await asyncio.gather(*tasks)
        assert triggerer.events == [{"invocation_id": invocation_id, "status": "finished"}] * count
        assert len(clients) == 1
        assert changes() == []
