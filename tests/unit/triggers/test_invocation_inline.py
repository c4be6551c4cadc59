"""The trigger without a triggerer, as ``dag.test()`` runs it. The signals themselves are in ``tests/processes``."""

import asyncio
import time

import attrs
import pytest
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.supervisor import InProcessSupervisorComms
from support.invocation_trigger import ANY, cancels_are_done, row

from airflow_provider_kernel.lifecycle import inline, trigger as owning_trigger
from airflow_provider_kernel.lifecycle.inline import stop_inline_trigger
from airflow_provider_kernel.testing import Fault

pytestmark = pytest.mark.usefixtures("kernel_connection")


@attrs.define
class Comms(InProcessSupervisorComms):
    """Airflow's own, with a supervisor that has nothing to answer: the connection is in the environment."""

    supervisor: None = None

    def send(self, msg):
        return None


@pytest.fixture
def in_process(monkeypatch):
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Comms(), raising=False)


@pytest.fixture(autouse=True)
def nothing_is_registered():
    yield
    assert not inline._stops


@pytest.fixture
def runs(start, kernel_emulator):
    """Run a trigger as Airflow does; return the asyncio task, once it polls, and the invocation's id."""

    async def runs(*, wait_for="GET", **arguments):
        invocation_id = start()
        trigger = row(invocation_id=invocation_id, poll_interval=3600, **arguments)
        task = asyncio.ensure_future(anext(trigger.run(), None))
        await asyncio.to_thread(kernel_emulator.wait_for, wait_for, ANY)
        return task, invocation_id

    return runs


async def cancelled(task):
    await asyncio.wait({task}, timeout=20)
    assert task.cancelled()
    await cancels_are_done()


@pytest.mark.usefixtures("in_process")
async def test_cancelled_inline_trigger_cancels_the_invocation(runs, kernel_emulator):
    task, invocation_id = await runs()
    task.cancel()
    await cancelled(task)
    assert kernel_emulator.invocation(invocation_id).status == "failed"


@pytest.mark.usefixtures("in_process")
async def test_cancel_that_a_signal_breaks_is_tried_once_more(runs, kernel_emulator, monkeypatch):
    """A KeyboardInterrupt within a cancel scope of anyio comes out as a RuntimeError."""
    task, invocation_id = await runs()
    end, orders = owning_trigger.OwningTrigger._end, []

    async def broken_once(trigger, order):
        orders.append(order)
        if len(orders) == 1:
            raise RuntimeError(
                "Attempted to exit a cancel scope that isn't the current task's current cancel scope"
            )
        return await end(trigger, order)

    monkeypatch.setattr(owning_trigger.OwningTrigger, "_end", broken_once)
    task.cancel()
    await cancelled(task)
    assert kernel_emulator.invocation(invocation_id).status == "failed"


@pytest.mark.usefixtures("in_process")
async def test_signal_cancels_an_inline_trigger_and_the_invocation(runs, kernel_emulator):
    task, invocation_id = await runs()
    stop_inline_trigger(invocation_id)
    await cancelled(task)
    assert kernel_emulator.invocation(invocation_id).status == "failed"


@pytest.mark.usefixtures("in_process")
async def test_signal_before_an_inline_trigger_runs_cancels_the_invocation(start, kernel_emulator):
    invocation_id = start()
    stop_inline_trigger(invocation_id)
    task = asyncio.ensure_future(anext(row(invocation_id=invocation_id).run(), None))
    await cancelled(task)
    assert kernel_emulator.invocation(invocation_id).status == "failed"


@pytest.mark.usefixtures("in_process")
async def test_signal_for_another_invocation_leaves_an_inline_trigger(runs, kernel_emulator):
    task, invocation_id = await runs()
    stop_inline_trigger("of another task")
    kernel_emulator.finish(invocation_id)
    task.cancel()
    await cancelled(task)
    assert kernel_emulator.invocation(invocation_id).status == "succeeded"


@pytest.mark.usefixtures("in_process")
async def test_signal_to_an_inline_trigger_without_cancel_on_kill_leaves_the_invocation(runs, kernel_emulator):
    task, invocation_id = await runs(cancel_on_kill=False)
    stop_inline_trigger(invocation_id)
    await cancelled(task)
    assert kernel_emulator.invocation(invocation_id).status == "running"


@pytest.mark.usefixtures("in_process")
async def test_signal_to_an_inline_trigger_while_kernel_is_down_logs_who_is_next(
    runs, kernel_emulator, log, monkeypatch
):
    monkeypatch.setattr(owning_trigger, "_INLINE", owning_trigger._INLINE._replace(seconds=0.2))
    kernel_emulator.add_fault(Fault("PATCH", ANY, nth=None, status=500))
    task, invocation_id = await runs()
    stop_inline_trigger(invocation_id)
    await cancelled(task)
    (error,) = [text for level, text in log() if level == "ERROR"]
    assert error.endswith("Next in line: Kernel's own time limit")


@pytest.mark.usefixtures("in_process")
async def test_signal_makes_the_cancel_of_an_overdue_inline_trigger_urgent(runs, kernel_emulator, log):
    kernel_emulator.add_fault(Fault("PATCH", ANY, nth=1, status=503, headers={"Retry-After": "60"}))
    task, invocation_id = await runs(deadline=time.time() - 1, wait_for="PATCH")
    stop_inline_trigger(invocation_id)
    await cancelled(task)
    assert kernel_emulator.invocation(invocation_id).status == "failed"
    assert any(text.endswith("there is time for one more attempt") for _, text in log())


@pytest.mark.usefixtures("supervisor")
async def test_signal_leaves_a_trigger_in_a_triggerer(runs, kernel_emulator):
    task, invocation_id = await runs()
    stop_inline_trigger(invocation_id)
    assert not inline._stops
    task.cancel()
    await cancelled(task)
    assert kernel_emulator.invocation(invocation_id).status == "running"
