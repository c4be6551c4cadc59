"""Run example DAGs in a real Airflow with ``dag.test()``: its task runner, signal handlers and database."""

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

    :param name: the task ID, with the map index of a mapped task.
    :param state: the task instance's state.
    :param invocation_id: the task's invocation, if it has one.
    :param returned: the return value.
    """

    name: str
    state: str
    invocation_id: str | None
    returned: Any


def load_dags() -> tuple[dict[str, DAG], dict[str, str]]:
    """
    Load the example DAGs.

    :return: the DAGs by ID, and the import errors by file name.
    """
    bag = _compat.load_dag_folder(examples_folder(), "dags-folder")
    return dict(bag.dags), {Path(file).name: error for file, error in bag.import_errors.items()}


def task_runs(dag_run: Any, invocation_ids: Collection[str]) -> list[TaskRun]:
    """
    Return the task instances of a DAG run.

    :param dag_run: the return value of ``dag.test()``.
    :param invocation_ids: the invocations of the run.
    """
    return [_task_run(ti, invocation_ids) for ti in dag_run.get_task_instances()]


class Interrupt:
    """
    A record of Ctrl-C.

    The task runner treats a ``KeyboardInterrupt`` as a failed task and continues, so it is recorded here too.
    """

    def __init__(self) -> None:
        self.happened = False

    def check(self) -> None:
        """
        Stop the demo after Ctrl-C.

        :raises KeyboardInterrupt: if Ctrl-C was pressed.
        """
        if self.happened:
            raise KeyboardInterrupt

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Record Ctrl-C, and restore both signal handlers afterwards: the task runner does not restore SIGTERM."""
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        signal.signal(signal.SIGINT, self._record)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _record(self, number: int, frame: FrameType | None) -> None:
        self.happened = True
        raise KeyboardInterrupt


class TaskReporter:
    """
    An Airflow listener that prints when tasks start and end.

    :param terminal: the terminal to print to.
    :param watcher: prints the changes in Kernel that came first.
    """

    def __init__(self, terminal: Terminal, watcher: Watcher) -> None:
        self._terminal = terminal
        self._watcher = watcher

    def register(self) -> None:
        """Add it to Airflow's listeners."""
        _compat.add_listener(self)

    @hookimpl
    def on_task_instance_running(self, previous_state: object, task_instance: Any) -> None:
        """Print that a task is running."""
        self._print_state(task_instance, "running")

    @hookimpl
    def on_task_instance_success(self, previous_state: object, task_instance: Any) -> None:
        """Print that a task has succeeded."""
        self._print_state(task_instance, "success")

    @hookimpl
    def on_task_instance_failed(self, previous_state: object, task_instance: Any, error: object) -> None:
        """Print that a task has failed."""
        self._print_state(task_instance, "failed")

    def _print_state(self, task_instance: Any, state: str) -> None:
        self._watcher.catch_up()
        if (task_instance.map_index or 0) >= MOST_INSTANCES:
            return
        self._terminal.event(f"  task {_name(task_instance)}: {state}")


def _task_run(ti: Any, invocation_ids: Collection[str]) -> TaskRun:
    returned = ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index)
    candidates = (
        ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index, key="invocation_id"),
        _rendered(ti).get("invocation_id"),
        returned,  # a task that starts an invocation itself returns its ID
    )
    invocation_id = next((c for c in candidates if isinstance(c, str) and c in invocation_ids), None)
    return TaskRun(_name(ti), str(ti.state or "none"), invocation_id, returned)


def _rendered(ti: Any) -> dict[str, Any]:
    from airflow.models.renderedtifields import RenderedTaskInstanceFields

    return RenderedTaskInstanceFields.get_templated_fields(ti) or {}


def _name(ti: Any) -> str:
    task_id: str = ti.task_id
    return task_id if ti.map_index is None or ti.map_index < 0 else f"{task_id}[{ti.map_index}]"
