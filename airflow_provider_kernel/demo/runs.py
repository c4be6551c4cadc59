"""Runs of the example DAGs in a real Airflow, through ``dag.test()``: its task runner, signals and database."""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

from airflow_provider_kernel import _compat
from airflow_provider_kernel.demo.environment import examples_folder
from airflow_provider_kernel.demo.outcome import MOST_INSTANCES

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from airflow_provider_kernel.demo.terminal import Terminal
    from airflow_provider_kernel.demo.watch import Watcher


@dataclass(frozen=True)
class TaskRun:
    """
    A task instance that has run.

    :param name: the task id, with the map index of a mapped one.
    :param state: its state.
    :param invocation_id: the invocation that it is about, if it is about one.
    :param returned: what it returned.
    """

    name: str
    state: str
    invocation_id: str | None
    returned: Any


def load_dags() -> tuple[dict[str, DAG], dict[str, str]]:
    """
    Load the examples.

    :return: the DAGs by id, and the errors by file.
    """
    bag = _compat.load_dag_folder(examples_folder(), "dags-folder")
    return dict(bag.dags), {Path(file).name: error for file, error in bag.import_errors.items()}


def task_runs(dag_run: Any, invocation_ids: Collection[str]) -> list[TaskRun]:
    """
    See what has become of the tasks of a DAG run.

    :param dag_run: what ``dag.test()`` returned.
    :param invocation_ids: the invocations that they may be about.
    """
    return [_task_run(ti, invocation_ids) for ti in dag_run.get_task_instances()]


class Interrupt:
    """
    Ctrl-C.

    The task runner takes a ``KeyboardInterrupt`` for a failure of the task and goes on, so it is noted here too.
    """

    def __init__(self) -> None:
        self.happened = False

    def check(self) -> None:
        """
        Stop if it has happened.

        :raises KeyboardInterrupt: then.
        """
        if self.happened:
            raise KeyboardInterrupt

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note Ctrl-C, and give both signals back to whom they belonged, since the task runner keeps SIGTERM."""
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        signal.signal(signal.SIGINT, self._note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.happened = True
        raise KeyboardInterrupt


class TaskTeller:
    """
    A listener of Airflow's that tells when tasks start and end.

    :param terminal: where to tell.
    :param watcher: tells first what has happened in Kernel.
    """

    def __init__(self, terminal: Terminal, watcher: Watcher) -> None:
        self._terminal = terminal
        self._watcher = watcher

    def register(self) -> None:
        """Have Airflow call it."""
        _compat.add_listener(self)

    @hookimpl
    def on_task_instance_running(self, previous_state: object, task_instance: Any) -> None:
        """Tell that a task runs."""
        self._tell(task_instance, "running")

    @hookimpl
    def on_task_instance_success(self, previous_state: object, task_instance: Any) -> None:
        """Tell that a task has succeeded."""
        self._tell(task_instance, "success")

    @hookimpl
    def on_task_instance_failed(self, previous_state: object, task_instance: Any, error: object) -> None:
        """Tell that a task has failed."""
        self._tell(task_instance, "failed")

    def _tell(self, task_instance: Any, state: str) -> None:
        self._watcher.catch_up()
        if (task_instance.map_index or 0) >= MOST_INSTANCES:
            return
        self._terminal.event(f"  task {_name(task_instance)}: {state}")


def _task_run(ti: Any, invocation_ids: Collection[str]) -> TaskRun:
    returned = ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index)
    candidates = (
        ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index, key="invocation_id"),
        _rendered(ti).get("invocation_id"),
        returned,  # of a task that starts an invocation by itself
    )
    about = next((c for c in candidates if isinstance(c, str) and c in invocation_ids), None)
    return TaskRun(_name(ti), str(ti.state or "none"), about, returned)


def _rendered(ti: Any) -> dict[str, Any]:
    from airflow.models.renderedtifields import RenderedTaskInstanceFields

    return RenderedTaskInstanceFields.get_templated_fields(ti) or {}


def _name(ti: Any) -> str:
    task_id: str = ti.task_id
    return task_id if ti.map_index is None or ti.map_index < 0 else f"{task_id}[{ti.map_index}]"
