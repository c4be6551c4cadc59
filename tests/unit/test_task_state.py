"""What Airflow says of a task: asked through its own calls, answered with its own messages."""

import asyncio
import threading

import pytest
from airflow.sdk.execution_time import comms
from airflow.utils.state import TaskInstanceState
from support.triggerer import Supervisor, held_back, task_instance

from airflow_provider_kernel import task_state as task_state_module
from airflow_provider_kernel.task_state import ask_in_advance, is_still_deferred_on, read_task_state


@pytest.fixture
def supervisor(monkeypatch):
    from airflow.sdk.execution_time import task_runner

    supervisor = Supervisor()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    return supervisor


@pytest.fixture
def deferred(supervisor):
    """Of the task ``t``, the plain one and two mapped ones are deferred, each on an invocation of its own."""
    supervisor.states.update({"t": "deferred", "t_0": "deferred", "t_1": "deferred"})
    for index in (-1, 0, 1):
        supervisor.xcoms["t", index, "invocation_id"] = f"inv{index}"
    return supervisor


async def ask(invocation_id="inv-1", **ti):
    return await is_still_deferred_on(task_instance(**ti), invocation_id)


class TestState:
    def read(self, **ti):
        state = []
        thread = threading.Thread(target=lambda: state.append(read_task_state(task_instance(**ti))))
        thread.start()
        thread.join()
        return state[0]

    @pytest.mark.parametrize("state", [*TaskInstanceState, "deferred", None])
    def test_it_is_text_or_nothing(self, state, supervisor):
        supervisor.states["t"] = state
        found = self.read()
        assert found == (None if state is None else str(getattr(state, "value", state)))
        assert found is None or type(found) is str

    def test_there_is_none_of_a_task_that_is_gone(self, supervisor):
        assert self.read() is None

    def test_nor_of_another_task_or_run(self, supervisor):
        supervisor.states["t"] = "deferred"
        assert self.read(task_id="other") is None
        assert self.read(run_id="other") is None

    @pytest.mark.parametrize(("map_index", "state"), [(0, "failed"), (1, "success"), (11, "running"), (2, None)])
    def test_of_a_mapped_one_it_is_its_own(self, map_index, state, supervisor):
        supervisor.states.update({"t": "deferred", "t_0": "failed", "t_1": "success", "t_11": "running"})
        assert self.read(map_index=map_index) == state

    def test_a_plain_task_may_be_called_like_a_mapped_one(self, supervisor):
        supervisor.states.update({"t_0": "deferred"})
        assert self.read(task_id="t_0") == "deferred"

    def test_the_question_for_a_plain_one(self, supervisor):
        self.read()
        assert supervisor.asked == [comms.GetTaskStates(dag_id="d", task_ids=["t"], run_ids=["r"])]

    def test_the_question_for_a_mapped_one(self, supervisor):
        self.read(map_index=0)
        assert supervisor.asked == [comms.GetTaskStates(dag_id="d", task_ids=["t"], run_ids=["r"], map_index=0)]


class TestStillDeferred:
    async def test_on_this_invocation(self, deferred):
        assert await ask() is True

    @pytest.mark.parametrize("map_index", [0, 1])
    async def test_a_mapped_one(self, map_index, deferred):
        assert await ask(f"inv{map_index}", map_index=map_index) is True
        assert await ask(f"inv{1 - map_index}", map_index=map_index) is False

    async def test_on_another_invocation(self, deferred):
        assert await ask("another") is False

    async def test_on_none_that_is_known(self, deferred):
        deferred.xcoms.clear()
        assert await ask() is False

    @pytest.mark.parametrize("state", [s for s in TaskInstanceState if s != "deferred"] + [None])
    async def test_not_deferred(self, state, deferred):
        deferred.states["t"] = state
        assert await ask() is False
        assert not [message for message in deferred.asked if message.type == "GetXCom"]

    async def test_gone(self, deferred):
        deferred.states.clear()
        assert await ask() is False

    async def test_what_goes_wrong_is_for_the_caller(self, deferred):
        def fail(message):
            raise ConnectionError("the supervisor is gone")

        deferred.hold = fail
        with pytest.raises(ConnectionError):
            await ask()

    async def test_an_error_in_place_of_an_xcom_is_not_a_no(self, deferred, monkeypatch):
        answer = deferred._answer
        monkeypatch.setattr(
            deferred,
            "_answer",
            lambda message: comms.ErrorResponse() if message.type == "GetXCom" else answer(message),
        )
        with pytest.raises(TypeError):
            await ask()

    async def test_an_error_in_place_of_a_state_is_not_a_no(self, deferred, monkeypatch):
        monkeypatch.setattr(deferred, "_answer", lambda message: comms.ErrorResponse())
        with pytest.raises(AttributeError):
            await ask()

    async def test_the_loop_goes_on_meanwhile(self, deferred):
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


class TestAskingInAdvance:
    @pytest.fixture(autouse=True)
    def a_new_process(self, monkeypatch):
        monkeypatch.setattr(task_state_module, "_was_asked", False)

    async def test_airflow_is_asked_once_in_a_process(self, supervisor):
        asked = threading.Event()
        supervisor.hold = lambda message: asked.set()
        for _ in range(3):
            ask_in_advance(task_instance())
        assert await asyncio.to_thread(asked.wait, 5)
        # What is asked now is answered after whatever was asked before.
        assert not await ask()
        assert len(supervisor.asked) == 2

    async def test_an_airflow_that_fails_or_never_answers_disturbs_nobody(self, supervisor):
        release = threading.Event()

        def fail(message):
            release.wait()
            raise RuntimeError("no answer")

        supervisor.hold = fail
        ask_in_advance(task_instance())
        release.set()
        with pytest.raises(RuntimeError, match="no answer"):
            await ask()
