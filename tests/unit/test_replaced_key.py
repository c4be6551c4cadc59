"""The API key is replaced while something waits, or is to be ended: whoever is refused goes on with the new one."""

import asyncio
import json
import threading
import time

import pytest
from airflow.sdk import get_current_context
from support.dag_callbacks import XComs, answer_from, leave_seconds, new_dag, ownership
from support.triggerer import Supervisor, task_instance as instance

from airflow_provider_kernel.callbacks import cancel_kernel_invocations
from airflow_provider_kernel.client.errors import KernelError, KernelTaskKilledError
from airflow_provider_kernel.client.resources.invocations.requests import get_invocation
from airflow_provider_kernel.decorators.kernel_browser import KernelBrowserDecoratedOperator
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle.kill import KILL_SECONDS
from airflow_provider_kernel.notifications.kernel import KernelInvocationNotifier
from airflow_provider_kernel.operators.browser import KernelBrowserTaskOperator
from airflow_provider_kernel.operators.invocation import KernelInvokeOperator
from airflow_provider_kernel.operators.invocation_task import KernelInvocationTaskOperator
from airflow_provider_kernel.operators.orphans import KernelCancelOrphansOperator
from airflow_provider_kernel.operators.playwright import KernelPlaywrightOperator
from airflow_provider_kernel.sensors.invocation import KernelInvocationSensor
from airflow_provider_kernel.testing import Fault
from airflow_provider_kernel.triggers._polling import shared_poller
from airflow_provider_kernel.triggers.finished import deliveries
from airflow_provider_kernel.triggers.invocation import KernelInvocationTrigger

ONE, LIST, EVENTS = "/invocations/*", "/invocations", "/invocations/*/events"
HANG = {"app_name": "demo", "action_name": "hang", "poll_interval": 0.01, "stream_logs": False}
CONNECTION = "AIRFLOW_CONN_KERNEL_DEFAULT"


class Rotation:
    """Replaces the key at Kernel and in the Airflow connection, between two requests."""

    def __init__(self, kernel, monkeypatch):
        self.kernel = kernel
        self.monkeypatch = monkeypatch
        self.threads = []

    def now(self, *, also_in_airflow=True):
        self.kernel.replace_key("sk-of-today")
        if also_in_airflow:
            self.reach_airflow()

    def reach_airflow(self):
        self.monkeypatch.setenv(CONNECTION, self.kernel.airflow_connection)

    def after(self, method, path, then=lambda: None):
        """Replace the key between the answer to the first such request and the next one."""
        self._hold(method, path, lambda: (self.now(), then()))

    def before(self, method, path):
        """Refuse the first such request, and replace the key in Airflow meanwhile."""
        self.now(also_in_airflow=False)
        self._hold(method, path, self.reach_airflow)

    def _hold(self, method, path, act):
        answer = self.kernel.add_fault(Fault(method, path, hold=True))

        def wait():
            self.kernel.wait_for(method, path)
            act()
            answer.release()

        self.threads.append(threading.Thread(target=wait, daemon=True))
        self.threads[-1].start()

    def refused(self):
        """The requests that Kernel has refused: methods and paths."""
        return [(r.method, r.path) for r in self.kernel.journal if r.status == 401]


@pytest.fixture
def rotation(kernel_emulator, kernel_connection, monkeypatch):
    return Rotation(kernel_emulator, monkeypatch)


@pytest.fixture
def finish(kernel_emulator):
    """Let the one invocation end by itself."""

    def finish():
        (invocation,) = kernel_emulator.invocations
        kernel_emulator.finish(invocation.id, output="done")

    return finish


@pytest.fixture
def waiting(kernel_emulator, kernel_connection):
    """The id of an invocation that something else has started."""
    with KernelHook() as hook:
        return hook.invoke("demo", "hang").id


# --- waits ----------------------------------------------------------------------------------------------------


def test_task_that_waits_on_a_worker_goes_on_with_a_replaced_key(run, rotation, finish):
    rotation.after("GET", ONE, finish)
    assert run(KernelInvokeOperator, **HANG).state == "success"
    assert len(rotation.refused()) == 1


def test_trigger_goes_on_with_a_replaced_key(rotation, waiting, finish):
    rotation.after("GET", ONE, finish)
    trigger = KernelInvocationTrigger(invocation_id=waiting, poll_interval=0.01, stream_logs=False)

    async def fire():
        return [event.payload["status"] async for event in trigger.run()]

    assert asyncio.run(fire()) == ["finished"]
    assert len(rotation.refused()) == 1


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_sensor_goes_on_with_a_key_that_is_replaced_in_a_poke(mode, run, rotation, waiting, finish):
    finish()
    rotation.before("GET", ONE)
    sensor = {"invocation_id": waiting, "poke_interval": 1, "timeout": 60, "mode": mode}
    assert run(KernelInvocationSensor, **sensor).state == "success"


def test_answering_task_goes_on_with_a_replaced_key(run, rotation, waiting, kernel_emulator):
    def function():
        rotation.now()
        return "answer"

    assert run(KernelInvocationTaskOperator, python_callable=function, invocation_id=waiting).state == "success"
    assert kernel_emulator.invocation(waiting).output_json == "answer"


@pytest.mark.parametrize("part", ["operator", "decorator", "script"])
def test_task_ends_its_browser_with_a_replaced_key(part, run, rotation, kernel_emulator):
    def function(browser):
        rotation.now()
        return browser.session_id

    if part == "script":
        kernel_emulator.add_fault(Fault("POST", "/browsers/*/playwright/execute", body={"success": True}))
        rotation.after("POST", "/browsers/*/playwright/execute")
        result = run(KernelPlaywrightOperator, code="return 1")
    else:
        cls = {"operator": KernelBrowserTaskOperator, "decorator": KernelBrowserDecoratedOperator}[part]
        result = run(cls, python_callable=function)
    assert result.state == "success"
    (browser,) = kernel_emulator.browsers
    assert browser.end_cause == "deleted"
    assert [request.status for request in kernel_emulator.requests("DELETE")] == [401, 204]


def test_log_stream_goes_on_with_a_replaced_key(run, rotation, kernel_emulator, capsys):
    def act(ctx):
        rotation.threads[0].join()
        ctx.log("a line for the new key")

    kernel_emulator.register("demo", "act", act)
    rotation.after("POST", LIST)
    assert run(KernelInvokeOperator, **{**HANG, "action_name": "act", "stream_logs": True}).state == "success"
    assert "kernel | a line for the new key" in capsys.readouterr().out


def test_watcher_goes_on_with_a_replaced_key(rotation, waiting):
    rotation.before("GET", LIST)

    async def first():
        stream = deliveries("kernel_default", 0.01)
        try:
            return await anext(stream)
        finally:
            await stream.aclose()

    assert asyncio.run(first()) is not None
    assert len(rotation.refused()) == 1


def test_replaced_key_of_many_triggers_is_read_once_and_later_triggers_join_their_poller(
    rotation, kernel_emulator, monkeypatch
):
    with KernelHook() as hook:
        invocation_ids = [hook.invoke("demo", "hang").id for _ in range(20)]
    reads = []
    read = KernelHook.aget_connection

    async def counted(conn_id):
        reads.append(conn_id)
        return await read(conn_id)

    async def poll_all():
        before = await KernelHook().aget_config()
        async with shared_poller(before) as poller:
            rotation.now()
            monkeypatch.setattr(KernelHook, "aget_connection", staticmethod(counted))
            await asyncio.gather(*(poller.client.send(get_invocation(each)) for each in invocation_ids))
            assert reads == ["kernel_default"]
            async with shared_poller(await KernelHook().aget_config()) as later:
                assert later is poller

    asyncio.run(poll_all())


def test_connections_with_equal_settings_have_a_poller_each(kernel_emulator, kernel_connection, monkeypatch):
    """The key of one may be replaced alone."""
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", kernel_emulator.airflow_connection)

    async def poll_both():
        one, other = await KernelHook().aget_config(), await KernelHook("other").aget_config()
        assert one == other
        async with shared_poller(one) as first, shared_poller(other) as second:
            assert first is not second

    asyncio.run(poll_both())


def test_key_that_reaches_airflow_late_is_used_then(run, rotation, finish, monkeypatch):
    monkeypatch.setattr("airflow_provider_kernel.hooks.connection_source.PAUSE_SECONDS", 0.0)
    monkeypatch.setattr("airflow_provider_kernel.client.outage.LONGEST_PAUSE_SECONDS", 0.1)

    def refuse_for_a_while():
        rotation.kernel.wait_for("GET", ONE, 3)
        finish()
        rotation.reach_airflow()

    rotation._hold("GET", ONE, lambda: rotation.now(also_in_airflow=False))
    threading.Thread(target=refuse_for_a_while, daemon=True).start()
    assert run(KernelInvokeOperator, **HANG).state == "success"


@pytest.mark.usefixtures("refused_key_ends_waits_soon")
def test_key_that_is_not_replaced_is_lost_contact(run, rotation, kernel_emulator):
    rotation._hold("GET", ONE, lambda: rotation.now(also_in_airflow=False))
    result = run(KernelInvokeOperator, max_tries=0, **HANG)
    assert type(result.error).__name__ == "KernelLostContactError"
    assert kernel_emulator.invocations[0].status == "running"


# --- ends -----------------------------------------------------------------------------------------------------


def test_ordinary_end_is_sent_with_a_replaced_key(run, rotation, kernel_emulator):
    class FailsWhileWaiting(KernelInvokeOperator):
        def sleep(self, seconds):
            rotation.now()
            raise RuntimeError("the task fails by itself")

    run(FailsWhileWaiting, max_tries=0, **HANG)
    assert kernel_emulator.invocations[0].status == "failed"
    assert len(rotation.refused()) == 1


def test_connection_that_names_another_project_meanwhile_does_not_take_what_is_owned_for_gone(
    waiting, rotation, kernel_emulator, monkeypatch, caplog
):
    with KernelHook() as hook:
        hook.get_invocation(waiting)
        rotation.now()
        connection = {**json.loads(kernel_emulator.airflow_connection), "extra": {"project": "another"}}
        monkeypatch.setenv(CONNECTION, json.dumps(connection))
        with pytest.raises(KernelError) as refused:
            hook.get_invocation(waiting)
    assert refused.value.refuses_key
    assert "names another base URL or project now" in caplog.text


def kill_after(act, seconds):
    """Make an operator that is killed while it waits, as in a signal handler; note how long that took."""

    class Killed(KernelInvokeOperator):
        def sleep(self, seconds_to_sleep):
            if not seconds:
                act(self)
                began = time.monotonic()
                self.on_kill()
                seconds.append(time.monotonic() - began)
            super().sleep(seconds_to_sleep)

    return Killed


def test_kill_ends_with_a_key_that_is_replaced(run, rotation, kernel_emulator):
    seconds = []
    result = run(kill_after(lambda operator: rotation.now(), seconds), **HANG)
    assert isinstance(result.error, KernelTaskKilledError)
    assert kernel_emulator.invocations[0].status == "failed"
    assert seconds[0] < KILL_SECONDS / 2


def test_kill_ends_with_the_key_that_the_wait_has_met(run, rotation, kernel_emulator):
    def poll_with_the_new_key(operator):
        rotation.now()
        operator.hook.get_invocation(kernel_emulator.invocations[0].id)

    run(kill_after(poll_with_the_new_key, []), **HANG)
    assert kernel_emulator.invocations[0].status == "failed"
    assert len(rotation.refused()) == 1


def test_kill_names_the_next_in_line_when_the_connection_cannot_be_read(
    run, rotation, kernel_emulator, monkeypatch, caplog
):
    monkeypatch.setattr("airflow_provider_kernel.lifecycle.owner.WORKER_END_SECONDS", 0.2)
    goes_on = threading.Event()

    def replace_and_hang(operator):
        rotation.now(also_in_airflow=False)
        # A secrets backend that hangs.
        monkeypatch.setattr(KernelHook, "get_connection", lambda self, conn_id: goes_on.wait(10))

    seconds = []
    run(kill_after(replace_and_hang, seconds), max_tries=0, **HANG)
    goes_on.set()
    assert seconds[0] < KILL_SECONDS + 0.5
    assert "Next in line" in caplog.text


def test_killed_answering_task_fails_its_invocation_with_a_replaced_key(
    run, rotation, waiting, kernel_emulator, execution_api
):
    def function():
        rotation.now()
        execution_api.task_state = "failed"
        get_current_context()["task"].on_kill()

    run(KernelInvocationTaskOperator, python_callable=function, invocation_id=waiting)
    assert kernel_emulator.invocation(waiting).status == "failed"


@pytest.mark.needs_airflow("3.3", "before, a trigger cannot know that a user acted")
def test_killed_trigger_ends_with_a_replaced_key(rotation, waiting, supervisor, kernel_emulator):
    supervisor.states["t"] = "failed"

    async def kill():
        trigger = KernelInvocationTrigger(invocation_id=waiting, stream_logs=False)
        trigger.task_instance = instance()
        wait = asyncio.create_task(anext(trigger.run()))
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", ONE)
        rotation.now()
        await trigger.on_kill()
        wait.cancel()

    asyncio.run(kill())
    assert kernel_emulator.invocation(waiting).status == "failed"


def test_safety_net_ends_with_a_replaced_key(rotation, waiting, kernel_emulator, monkeypatch):
    leave_seconds(monkeypatch, 5)
    with new_dag() as dag:
        KernelInvokeOperator(task_id="t", **HANG)
    answer_from(monkeypatch, XComs({"t": [ownership(waiting)]}))
    rotation.before("GET", ONE)
    cancel_kernel_invocations({"dag": dag, "run_id": "r", "reason": "task_failure"})
    assert kernel_emulator.invocation(waiting).status == "failed"


def test_sweep_ends_with_a_replaced_key(make_task, rotation, kernel_emulator, execution_api):
    with KernelHook() as hook:
        mark = {"dag_id": "d", "run_id": "over", "task_id": "t", "token": "x"}
        orphan = hook.invoke("demo", "hang", {"_airflow": mark}).id
    execution_api.dag_run_states = {"over": "success"}
    rotation.after("GET", LIST)
    make_task(KernelCancelOrphansOperator, app_name="demo", dry_run_only=False).run()
    assert kernel_emulator.invocation(orphan).status == "failed"


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_notifier_ends_with_a_replaced_key(is_async, rotation, waiting, kernel_emulator, monkeypatch):
    monkeypatch.setattr("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", Supervisor(), raising=False)
    notifier = KernelInvocationNotifier(status="failed", invocation_id=waiting)
    rotation.before("GET", ONE)
    if is_async:
        asyncio.run(notifier.async_notify({}))
    else:
        notifier.notify({})
    assert kernel_emulator.invocation(waiting).status == "failed"
