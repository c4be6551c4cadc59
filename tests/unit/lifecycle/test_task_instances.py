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
    preload_state_api,
)


async def ask():
    return await call_from_loop(lambda: fetch_task_state(task_instance()))


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


async def test_call_from_loop_raises_what_airflow_raises(supervisor):
    def fail(message):
        raise ConnectionError("the supervisor is gone")

    supervisor.hold = fail
    with pytest.raises(ConnectionError):
        await ask()


async def test_call_from_loop_does_not_block_the_event_loop(supervisor):
    loop, asked = asyncio.get_running_loop(), asyncio.Event()
    with held_back() as wait:

        def hold(message):
            loop.call_soon_threadsafe(asked.set)
            wait(message)

        supervisor.hold = hold
        question = asyncio.create_task(ask())
        await asked.wait()
        assert not question.done()
    assert await question is TaskState.GONE


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
    assert await ask() is TaskState.GONE
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
