"""A triggerer without a database: Airflow's own ``TriggerRunner``, and a stand-in for the supervisor it asks."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.executors import workloads
from airflow.jobs.triggerer_job_runner import TriggerRunner
from airflow.models.trigger import Trigger
from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time import comms

try:
    from airflow.executors.workloads.task import TaskInstanceDTO
except ImportError:  # before Airflow 3.3
    from airflow.executors.workloads import TaskInstance as TaskInstanceDTO

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

#: The pace of a triggerer is one loop a second; nothing here depends on its length, only on the repetition.
LOOP_SECONDS = 0.03


def task_instance(task_id: str = "t", map_index: int = -1, run_id: str = "r") -> TaskInstanceDTO:
    """Describe the task instance that a trigger belongs to."""
    # Before Airflow 3.3, a queue must be named; since then it need not be.
    return TaskInstanceDTO(
        id=uuid.uuid4(),
        task_id=task_id,
        dag_id="d",
        run_id=run_id,
        try_number=1,
        map_index=map_index,
        dag_version_id=uuid.uuid4(),
        pool_slots=1,
        priority_weight=1,
        queue="default",
    )


@dataclass
class Supervisor:
    """
    What Airflow tells a trigger, in place of ``SUPERVISOR_COMMS``.

    :param states: of the run ``r``, as ``get_task_states`` has them: mapped ones under ``task_id_<map_index>``.
    :param xcoms: by task id, map index and key.
    :param connections: what there is beside the environment, by id.
    :param asset_states: what is kept with assets, by asset and key.
    :param hold: called with each message before it is answered; raises, or blocks to hold the answer back.
    """

    states: dict[str, Any] = field(default_factory=dict)
    xcoms: dict[tuple[str, int | None, str], Any] = field(default_factory=dict)
    asset_states: dict[tuple[str, str], Any] = field(default_factory=dict)
    hold: Callable[[Any], None] = lambda message: None
    asked: list[Any] = field(default_factory=list)
    _loop_thread: int = field(default_factory=threading.get_ident)

    def send(self, message: Any) -> Any:
        if threading.get_ident() == self._loop_thread:
            raise AssertionError(f"asked on the event loop, which waits meanwhile: {message}")
        self.asked.append(message)
        self.hold(message)
        return self._answer(message)

    async def asend(self, message: Any) -> Any:
        self.asked.append(message)
        return self._answer(message)

    def _answer(self, message: Any) -> Any:
        if isinstance(message, comms.GetTaskStates):
            keys = {f"{t}_{message.map_index}" if message.map_index is not None else t for t in message.task_ids}
            states = {key: state for key, state in self.states.items() if key in keys}
            return comms.TaskStatesResult(task_states={"r": states} if states else {})
        if isinstance(message, comms.GetXCom):
            value = self.xcoms.get((message.task_id, message.map_index, message.key))
            return comms.XComResult(key=message.key, value=value)
        if isinstance(message, comms.SetXCom):
            self.xcoms[message.task_id, message.map_index, message.key] = message.value
            return comms.OKResponse(ok=True)
        if isinstance(message, comms.GetConnection):
            return comms.ErrorResponse(error=ErrorType.CONNECTION_NOT_FOUND)
        if isinstance(message, comms.MaskSecret):
            return None
        # Before Airflow 3.3, there are no such messages.
        if type(message).__name__ == "GetAssetStateStoreByName":
            found = self.asset_states.get((message.name, message.key))
            if found is None:
                return comms.ErrorResponse(error=ErrorType.ASSET_STORE_NOT_FOUND)
            return comms.AssetStateStoreResult(value=found)
        if type(message).__name__ == "SetAssetStateStoreByName":
            self.asset_states[message.name, message.key] = message.value
            return comms.OKResponse(ok=True)
        raise AssertionError(f"the triggerer's supervisor is not asked this: {message}")


class Triggerer:
    """Run triggers as a triggerer's process does, from what is in their rows."""

    def __init__(self) -> None:
        self.runner = TriggerRunner()  # type: ignore[no-untyped-call]
        self._ids = 0

    async def start(
        self,
        trigger: BaseTrigger,
        ti: TaskInstanceDTO | None = None,
        *,
        watched_assets: dict[str, str] | None = None,
    ) -> asyncio.Task[None]:
        """Create a trigger from its row; returns the task that runs it."""
        classpath, kwargs = trigger.serialize()
        self._ids += 1
        of_3_3 = {} if watched_assets is None else {"watched_assets": watched_assets}
        self.runner.to_create.append(
            workloads.RunTrigger(
                id=self._ids,
                classpath=classpath,
                encrypted_kwargs=Trigger.encrypt_kwargs(kwargs),
                ti=ti,
                **of_3_3,
            )
        )
        await self.runner.create_triggers()
        assert not self.runner.failed_triggers
        return self.runner.triggers[self._ids]["task"]

    @property
    def events(self) -> list[dict[str, Any]]:
        """The payloads of all events so far."""
        return [event.payload for _, event in map(_id_and_event, self.runner.events)]

    async def store_events(self, *, confirm: bool = True) -> list[tuple[int, dict[str, Any]]]:
        """
        Store what has been told so far, as the triggerer's supervisor does.

        :param confirm: whether the runner still hears of it.
        :return: trigger ids and payloads.
        """
        stored = []
        while self.runner.events:
            stored.append(self.runner.events.popleft())
        if confirm and hasattr(self.runner, "_shared_streams"):  # from Airflow 3.3 on
            self.runner._shared_streams.confirm_persisted(
                [entry.persist_seq for entry in stored if entry.persist_seq is not None]
            )
        return [(trigger_id, event.payload) for trigger_id, event in map(_id_and_event, stored)]

    def linger_after_the_event(self) -> asyncio.Event:
        """Have the runner be slow between a trigger's event and its end; the event is set when it is there."""
        lingers = asyncio.Event()

        async def ainfo(text: str, **fields: Any) -> None:
            if text == "Trigger fired event":
                lingers.set()
                await asyncio.Event().wait()

        self.runner.log = SimpleNamespace(info=lambda *args, **fields: None, ainfo=ainfo)
        return lingers

    async def kill(self, task: asyncio.Task[None]) -> None:
        """Cancel a trigger as for a user, once in every loop until it is gone."""
        trigger_id = next(i for i, details in self.runner.triggers.items() if details["task"] is task)
        while not task.done():
            self.runner.to_cancel.append(trigger_id)
            await self.runner.cancel_triggers()
            await asyncio.wait({task}, timeout=LOOP_SECONDS)

    async def stop(self) -> None:
        """Cancel all triggers as ``asyncio.run`` does at the end of a triggerer, once and without a message."""
        tasks = {details["task"] for details in self.runner.triggers.values()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _id_and_event(entry: Any) -> tuple[int, Any]:
    """Read an entry of the runner's queue of events; before Airflow 3.3, it is just this pair."""
    return (entry.trigger_id, entry.event) if hasattr(entry, "event") else entry


@contextlib.contextmanager
def held_back() -> Iterator[Callable[[Any], None]]:
    """Give a ``hold`` that blocks to the end of the block."""
    released = threading.Event()
    try:
        yield lambda message: None if released.wait(30) else pytest.fail(f"held back for too long: {message}")
    finally:
        released.set()
