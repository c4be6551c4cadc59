"""One run of a DAG, and all that was seen of it."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from airflow_stack.rest import timestamp
from airflow_stack.stack import AirflowStack
from whole_stack.kernel import Invocation, KernelProcess, Served
from whole_stack.processor_time import machine_seconds, megabytes, processor_seconds

#: The DAGs: Airflow's own share, this package, and one task of each.
AIRFLOW, KERNEL, WARM_UP = "airflow_waits", "kernel_waits", "warm_up"
TASK_ID = "wait"

_LOOK_SECONDS = 1.0
#: How long a task may take of everybody's time before the run counts as stuck.
_TASK_SECONDS = 10


@dataclass
class Task:
    """
    What became of a task.

    :param number: its map index.
    :param state: its last state.
    :param notes: when it did what, in seconds since the epoch; see ``dags/waits.py``.
    :param result: what it returned.
    :param event_taken_at: when Airflow had its trigger's event.
    """

    number: int
    state: str
    notes: dict[str, list[float]] = field(default_factory=dict)
    result: Any = None
    event_taken_at: float = 0.0

    def at(self, what: str) -> float:
        """Tell when it did something, the last time."""
        return self.notes[what][-1]


@dataclass(frozen=True)
class Outcome:
    """
    What was seen of a run.

    :param dag_id: its DAG.
    :param state: its last state.
    :param seconds: how long it took.
    :param wait_seconds: how long each of its tasks was to wait.
    :param tasks: its tasks, in order.
    :param seconds_watched: how long it was watched, a little longer: what the next three are of.
    :param cpu: seconds of processor time, by part of the stack.
    :param machine_cpu: seconds of processor time of the whole machine.
    :param triggerer_megabytes: memory of the triggerer, at most.
    :param served: what the emulator was asked for meanwhile.
    :param log: of one task that did not succeed.
    """

    dag_id: str
    state: str
    seconds: float
    wait_seconds: float
    tasks: Sequence[Task]
    seconds_watched: float
    cpu: dict[str, float]
    machine_cpu: float
    triggerer_megabytes: float
    served: Served
    log: str

    def over_at(self, task: Task) -> float:
        """Tell when what a task waited for was over."""
        if self.dag_id == AIRFLOW:
            return task.at("defer") + self.wait_seconds
        return self.invocations[task.number][0].ended_at

    @cached_property
    def invocations(self) -> dict[int, list[Invocation]]:
        """The invocations by the number of the task that they were started for."""
        found = defaultdict(list)
        for invocation in self.served.invocations:
            found[invocation.number].append(invocation)
        return found


class Runner:
    """
    Runs the DAGs.

    :param stack: a stack that is up.
    :param kernel: the emulator.
    :param notes: the file that the tasks write to.
    :param count: how many tasks there are.
    :param wait_seconds: how long each waits.
    """

    def __init__(
        self, stack: AirflowStack, kernel: KernelProcess, notes: Path, *, count: int, wait_seconds: float
    ) -> None:
        self._stack = stack
        self._kernel = kernel
        self._notes = notes
        self._count = count
        self._wait_seconds = wait_seconds

    def warm_up(self) -> None:
        """Have every process load what it loads once."""
        run_id = self._stack.api.start_run(WARM_UP)
        self._until_it_ends(WARM_UP, run_id)
        state = self._stack.api.run_state(WARM_UP, run_id)
        if state != "success":
            raise RuntimeError(f"{WARM_UP} is {state}:\n{self._stack.logs()}")

    def run(self, dag_id: str) -> Outcome:
        """
        Run a DAG to its end.

        :param dag_id: which.
        """
        stack, api = self._stack, self._stack.api
        stack.wait_until_healthy()
        self._kernel.report()
        cpu, machine = processor_seconds(stack, self._kernel.pid), machine_seconds()
        watched = -time.monotonic()
        run_id = api.start_run(dag_id)
        memory = self._until_it_ends(dag_id, run_id)
        watched += time.monotonic()
        machine = machine_seconds() - machine
        cpu = {name: taken - cpu[name] for name, taken in processor_seconds(stack, self._kernel.pid).items()}
        began, ended = api.run_times(dag_id, run_id)
        tasks = self._tasks(dag_id, run_id)
        unsuccessful = [task for task in tasks if task.state != "success"]
        return Outcome(
            dag_id=dag_id,
            state=api.run_state(dag_id, run_id),
            seconds=ended - began,
            wait_seconds=self._wait_seconds,
            tasks=tasks,
            seconds_watched=watched,
            cpu=cpu,
            machine_cpu=machine,
            triggerer_megabytes=memory,
            served=self._kernel.report(),
            log=self._log(dag_id, run_id, unsuccessful[:1]),
        )

    def _log(self, dag_id: str, run_id: str, tasks: Sequence[Task]) -> str:
        return "\n".join(
            line for task in tasks for line in self._stack.api.log(dag_id, run_id, TASK_ID, map_index=task.number)
        )

    def _until_it_ends(self, dag_id: str, run_id: str) -> float:
        """Wait, and tell how much memory the triggerer took."""
        until = time.monotonic() + self._wait_seconds + 60 + _TASK_SECONDS * self._count
        most = 0.0
        while self._stack.api.run_state(dag_id, run_id) not in ("success", "failed"):
            for program in self._stack.programs.values():
                if program.has_crashed:
                    raise RuntimeError(f"{program.name} has ended:\n{program.tail()}")
            if time.monotonic() > until:
                self._stack.api.mark_run(dag_id, run_id, "failed")
            most = max(most, megabytes(self._stack.programs["triggerer"].pid))
            time.sleep(_LOOK_SECONDS)
        return most

    def _tasks(self, dag_id: str, run_id: str) -> list[Task]:
        instances = self._stack.api.task_instances(dag_id, run_id)
        tasks = {ti["map_index"]: Task(ti["map_index"], str(ti["state"])) for ti in instances}
        for ti in instances:
            if ti["scheduled_when"] is not None:
                tasks[ti["map_index"]].event_taken_at = timestamp(ti["scheduled_when"])
        for line in self._notes.read_text().splitlines():
            note = json.loads(line)
            if note["run_id"] == run_id:
                task = tasks[note["number"]]
                task.notes.setdefault(note["what"], []).append(note["at"])
                task.result = note.get("result", task.result)
        return list(tasks.values())
