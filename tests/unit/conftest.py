from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator
from support.classes import load_class
from support.execution_api import ExecutionAPI, task_instance
from support.in_process import run_task


@pytest.fixture
def execution_api() -> ExecutionAPI:
    return ExecutionAPI()


@pytest.fixture
def supervisor(monkeypatch):
    """Let what calls Airflow in this process get its answers from a stand-in."""
    from airflow.sdk.execution_time import task_runner
    from support.triggerer import Supervisor

    supervisor = Supervisor()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    return supervisor


@dataclass
class TaskTry:
    """
    One try of a task, run as Airflow runs it, in this process.

    :param task: the operator or sensor, in a DAG.
    :param api: the Execution API that it talks to.
    """

    task: BaseOperator
    api: ExecutionAPI
    ti: Any = field(default_factory=task_instance)
    events: list[dict[str, Any]] = field(default_factory=list)

    def next_try(self, *, cleared: bool = False, cleared_while_running: bool = False) -> TaskTry:
        """Make the next try, after a failure or a crash, or after a clear, as Airflow counts that."""
        number = self.ti.try_number
        if cleared:
            self.api.max_tries = number + self.api.max_tries
        if cleared or cleared_while_running:
            self.api.clear_number += 1
        self.api.next_method = self.api.next_kwargs = None
        self.api.xcoms.clear()  # as Airflow does before a new try
        ti = task_instance(map_index=self.ti.map_index, try_number=number + 1)
        return TaskTry(self.task, self.api, ti)

    def run(self) -> Any:
        """Run it from its start, until it ends or defers."""
        self.api.try_number = self.ti.try_number
        return run_task(ti=self.ti, task=self.task, client=self.api.client())

    def trigger_event(self, deferred: Any) -> dict[str, Any]:
        """Run the trigger that it deferred with, from what is in the trigger's row, to its one event."""
        trigger = load_class(deferred.msg.classpath)(**deferred.msg.trigger_kwargs)

        async def fire() -> list[dict[str, Any]]:
            return [event.payload async for event in trigger.run()]

        (event,) = asyncio.run(fire())
        self.events.append(event)
        return event

    def resume(self, method: str, **kwargs: Any) -> Any:
        """Let it go on, as a new process does after a deferral."""
        self.api.next_method, self.api.next_kwargs = method, kwargs
        return self.run()

    def go_on(self, deferred: Any) -> Any:
        """Run the trigger that it deferred with, and let it go on with the event."""
        return self.resume(
            deferred.msg.next_method, event=self.trigger_event(deferred), **(deferred.msg.next_kwargs or {})
        )

    def run_through(self) -> Any:
        """Run it to its end, over a deferral if it defers."""
        result = self.run()
        if result.state == "deferred":
            result = self.go_on(result)
        return result


@pytest.fixture
def make_task(execution_api, kernel_connection):
    """Make one try of a task, with a retry left unless told otherwise."""

    def make(operator_class, *, max_tries=1, map_index=-1, **arguments):
        execution_api.max_tries = max_tries
        with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):
            task = operator_class(task_id="t", retries=max_tries, **arguments)
        return TaskTry(task, execution_api, task_instance(map_index=map_index))

    return make


@pytest.fixture
def run(make_task):
    """Run one task from its start, until it ends or defers."""
    return lambda operator_class, **arguments: make_task(operator_class, **arguments).run()
