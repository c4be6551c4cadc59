"""The state of task instances: fetched by Airflow's own calls, answered with its own messages."""

import asyncio
import threading

import pytest
from airflow.sdk.execution_time import comms
from airflow.utils.state import State, TaskInstanceState
from support.triggerer import held_back, task_instance

from airflow_provider_kernel.lifecycle import task_instances
from airflow_provider_kernel.lifecycle.task_instances import (
    TaskState,
    call_from_loop,
    fetch_task_state,
    is_deferred_on,
    preload_state_api,
)


@pytest.fixture
def deferred(supervisor):
    """Of the task ``t``, the plain one and two mapped ones are deferred, each on an invocation of its own."""
    supervisor.states.update({"t": "deferred", "t_0": "deferred", "t_1": "deferred"})
    for index in (-1, 0, 1):
        supervisor.xcoms["t", index, "invocation_id"] = f"inv{index}"
    return supervisor


async def ask(invocation_id="inv-1", **ti):
    return await call_from_loop(lambda: is_deferred_on(task_instance(**ti), "invocation_id", invocation_id))


def fetch_state(**ti):
    """Fetch it on another thread: the stand-in refuses calls on the event loop's."""
    states = []
    thread = threading.Thread(target=lambda: states.append(fetch_task_state(task_instance(**ti))))
    thread.start()
    thread.join()
    return states[0]


@pytest.mark.parametrize("state", [*TaskInstanceState, "deferred"])
def test_fetch_task_state_knows_every_state_of_airflow(state, supervisor):
    supervisor.states["t"] = state
    found = fetch_state()
    assert type(found) is TaskState
    assert found == str(getattr(state, "value", state))


def test_task_is_over_in_the_states_that_airflow_calls_finished():
    over = {state for state in TaskState if state.is_over}
    assert over == {TaskState(state.value) for state in State.finished} | {TaskState.GONE}


def test_fetch_task_state_takes_a_state_of_a_later_airflow_for_unknown(monkeypatch, supervisor):
    monkeypatch.setattr(task_instances, "_fetch_states", lambda *a, **k: {"t": "levitating"})
    assert fetch_state() is TaskState.UNKNOWN


def test_fetch_task_state_is_none_without_a_state(supervisor):
    supervisor.states["t"] = None
    assert fetch_state() is TaskState.NONE


def test_fetch_task_state_is_gone_when_the_task_instance_was_deleted(supervisor):
    assert fetch_state() is TaskState.GONE


def test_fetch_task_state_is_not_taken_from_another_task_or_run(supervisor):
    supervisor.states["t"] = "deferred"
    assert fetch_state(task_id="other") is TaskState.GONE
    assert fetch_state(run_id="other") is TaskState.GONE


@pytest.mark.parametrize(("map_index", "state"), [(0, "failed"), (1, "success"), (11, "running"), (2, "gone")])
def test_fetch_task_state_of_a_mapped_task_instance_is_its_own(map_index, state, supervisor):
    supervisor.states.update({"t": "deferred", "t_0": "failed", "t_1": "success", "t_11": "running"})
    assert fetch_state(map_index=map_index) == state


def test_fetch_task_state_of_a_plain_task_whose_name_looks_mapped(supervisor):
    supervisor.states.update({"t_0": "deferred"})
    assert fetch_state(task_id="t_0") == "deferred"


def test_fetch_task_state_of_a_plain_task_sends_no_map_index(supervisor):
    fetch_state()
    assert supervisor.asked == [comms.GetTaskStates(dag_id="d", task_ids=["t"], run_ids=["r"])]


def test_fetch_task_state_of_a_mapped_task_instance_sends_its_map_index(supervisor):
    fetch_state(map_index=0)
    assert supervisor.asked == [comms.GetTaskStates(dag_id="d", task_ids=["t"], run_ids=["r"], map_index=0)]


async def test_task_deferred_on_this_invocation_is_deferred_on_it(deferred):
    assert await ask() is True


@pytest.mark.parametrize("map_index", [0, 1])
async def test_mapped_task_instance_is_deferred_on_its_own_invocation_only(map_index, deferred):
    assert await ask(f"inv{map_index}", map_index=map_index) is True
    assert await ask(f"inv{1 - map_index}", map_index=map_index) is False


async def test_task_deferred_on_another_invocation_is_not_deferred_on_this_one(deferred):
    assert await ask("another") is False


async def test_task_without_an_invocation_in_xcom_is_not_deferred_on_one(deferred):
    deferred.xcoms.clear()
    assert await ask() is False


@pytest.mark.parametrize("state", [s for s in TaskInstanceState if s != "deferred"] + [None])
async def test_task_in_another_state_is_not_deferred_and_its_xcom_is_not_read(state, deferred):
    deferred.states["t"] = state
    assert await ask() is False
    assert not [message for message in deferred.asked if message.type == "GetXCom"]


async def test_task_that_is_gone_is_not_deferred(deferred):
    deferred.states.clear()
    assert await ask() is False


async def test_call_from_loop_raises_what_airflow_raises(deferred):
    def fail(message):
        raise ConnectionError("the supervisor is gone")

    deferred.hold = fail
    with pytest.raises(ConnectionError):
        await ask()


async def test_deferred_on_takes_an_error_in_place_of_an_xcom_for_no_answer(deferred, monkeypatch):
    answer = deferred._answer
    monkeypatch.setattr(
        deferred,
        "_answer",
        lambda message: comms.ErrorResponse() if message.type == "GetXCom" else answer(message),
    )
    with pytest.raises(TypeError):
        await ask()


async def test_deferred_on_takes_an_error_in_place_of_a_state_for_no_answer(deferred, monkeypatch):
    monkeypatch.setattr(deferred, "_answer", lambda message: comms.ErrorResponse())
    with pytest.raises(AttributeError):
        await ask()


async def test_call_from_loop_does_not_block_the_event_loop(deferred):
    loop, asked = asyncio.get_running_loop(), asyncio.Event()
    with held_back() as wait:

        def hold(message):
            loop.call_soon_threadsafe(asked.set)
            wait(message)

        deferred.hold = hold
        question = asyncio.create_task(ask())
        await asked.wait()
        assert not question.done()
    assert await question is True


@pytest.fixture
def new_process(monkeypatch):
    monkeypatch.setattr(task_instances, "_is_preloaded", False)


async def test_preload_calls_airflow_once_in_a_process(supervisor, new_process):
    asked = threading.Event()
    supervisor.hold = lambda message: asked.set()
    for _ in range(3):
        preload_state_api(task_instance())
    assert await asyncio.to_thread(asked.wait, 5)
    # What is asked now is answered after whatever was asked before.
    assert not await ask()
    assert len(supervisor.asked) == 2


async def test_preload_ignores_an_airflow_that_fails_or_is_late(supervisor, new_process):
    release = threading.Event()

    def fail(message):
        release.wait()
        raise RuntimeError("no answer")

    supervisor.hold = fail
    preload_state_api(task_instance())
    release.set()
    with pytest.raises(RuntimeError, match="no answer"):
        await ask()
