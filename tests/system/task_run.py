"""What all scenarios share: a run of a DAG with one kind of task, what is done to it, and how it ended."""

from __future__ import annotations

import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from typing_extensions import Self

from airflow_provider_kernel.testing import KernelEmulator
from airflow_provider_kernel.testing.journal import RecordedRequest
from airflow_stack.rest import wait_until
from airflow_stack.stack import AirflowStack

TASK_ID = "invoke"
#: What a person sees as over.
OVER = ("success", "failed", "skipped", "upstream_failed", "removed")

#: What Airflow calls when it has noticed, by what was noted.
_NOTICED = ("operator.on_kill", "trigger.on_kill", "net", "net of the task", "resume", "execute")


@dataclass(frozen=True)
class Outcome:
    """
    A line of the table.

    :param kind: what the task owned: an invocation or a browser.
    :param row: the number of the row in the matrix.
    :param title: how the task ended.
    :param mode: blocking, deferrable or mapped; of a task with a browser, where its function was.
    :param state: the final state of the task.
    :param cancelled_after: seconds from the act to the end of what it owned; None when nothing was ended.
    :param after_notice: seconds from Airflow's first call to that; None when Airflow called nothing.
    :param stopped_after: seconds from the act until the function had stopped; None when nobody could tell.
    :param started: how many were started for the task.
    """

    kind: str
    row: str
    title: str
    mode: str
    state: str
    cancelled_after: float | None
    after_notice: float | None
    stopped_after: float | None
    started: int


class Matrix:
    """
    All that the scenarios share.

    :param stack: the Airflow.
    :param kernel: the Kernel.
    :param folder: where the tasks write their notices and look for gates.
    :param patience: what to multiply the waits with; those for what is expected to fail can be short.
    """

    def __init__(self, stack: AirflowStack, kernel: KernelEmulator, folder: Path, patience: float = 1.0) -> None:
        self.stack = stack
        self.kernel = kernel
        self.patience = patience
        self.outcomes: list[Outcome] = []
        self._folder = folder
        self._ended: list[TaskRun] = []

    def notices(self, run_id: str) -> list[dict[str, Any]]:
        """Read what was noted of a run."""
        path = self._folder / "notices"
        if not path.exists():
            return []
        notices = [json.loads(line) for line in path.read_text().splitlines()]
        return [notice for notice in notices if notice["run_id"] == run_id]

    def open_gate(self, name: str) -> None:
        """Let the tasks of a run pass."""
        (self._folder / name).touch()

    def remember(self, run: TaskRun) -> None:
        """Look at a run once more at the very end."""
        self._ended.append(run)

    def recheck(self) -> None:
        """Make sure that nothing was started or sent after a scenario had ended."""
        late = [text for run in self._ended for text in run.what_came_late()]
        assert not late, "\n".join(late)


class NotUnderWayError(Exception):
    """What a scenario begins with did not come about."""


@dataclass
class TaskRun(ABC):
    """
    A run of one of the DAGs.

    :param matrix: what the scenarios share.
    :param variant: which DAG.
    :param mode: how its task waits.
    :param down_until: when Kernel was back, in a run with an outage: the table counts from then, and has no time
        for the provider's share.
    """

    matrix: Matrix
    variant: str
    mode: str
    row: str
    title: str
    run_id: str = ""
    acted_at: float = 0.0
    cancelled_at: float | None = None
    stopped_at: float | None = None
    down_until: float | None = None
    _victims: tuple[str, ...] = ()
    _at_the_end: tuple[int, int] = field(default=(0, 0))

    #: What its task owns.
    kind = ""

    @property
    @abstractmethod
    def dag_id(self) -> str:
        """The DAG."""

    @property
    def width(self) -> int:
        """How many tasks there are."""
        return 1

    @property
    def started_at(self) -> float:
        """When the DAG run began, in seconds since the epoch."""
        return self.matrix.stack.api.run_start(self.dag_id, self.run_id)

    @abstractmethod
    def active_ids(self) -> list[str]:
        """Return what runs at Kernel, of this DAG run."""

    @abstractmethod
    def end_all(self) -> None:
        """End what runs at Kernel, of this DAG run."""

    @abstractmethod
    def check_one_at_a_time(self) -> None:
        """Expect that no task ever had two active at the same time."""

    @abstractmethod
    def _texts(self) -> str: ...

    @abstractmethod
    def _counts(self) -> tuple[int, int]:
        """Return how many were started, and how many requests were sent to end one."""

    # --- arrange

    def start(self) -> Self:
        """Start the DAG run."""
        self.run_id = self.matrix.stack.api.start_run(self.dag_id)
        return self

    def until_noted(self, what: str, count: int = 1, timeout: float = 60) -> dict[str, Any]:
        """
        Wait until something was noted.

        :param what: what.
        :param count: how many times.
        :param timeout: seconds.
        :return: the last such notice.
        """
        self._wait(
            lambda: len(self._noted(what)) >= count,
            lambda: f"{what} was noted {len(self._noted(what))} times, not {count}; {self.states()}",
            timeout,
        )
        return self._noted(what)[-1]

    def until_state(self, state: str, *, over: bool = True, timeout: float = 90) -> None:
        """
        Wait until every task is in a state.

        :param state: the state.
        :param over: whether it is one that a task ends in, so that another one would be wrong for ever.
        :param timeout: seconds.
        """
        self._wait(
            lambda: set(self.states()) == {state} or (over and all(s in OVER for s in self.states())),
            lambda: f"the tasks are {self.states()}, not {state}; {self._texts()}",
            timeout,
        )
        assert set(self.states()) == {state}, f"the tasks are {self.states()}, not {state}"

    def expect_run_goes_on(self) -> None:
        """Expect that the DAG run has not ended, so that its own callbacks were not called."""
        assert self.matrix.stack.api.run_state(self.dag_id, self.run_id) == "running"
        assert not self._noted("net")

    def until_run_is_over(self, timeout: float = 90) -> None:
        """
        Wait until the DAG run has ended.

        :param timeout: seconds.
        """
        api = self.matrix.stack.api
        self._wait(
            lambda: api.run_state(self.dag_id, self.run_id) in OVER,
            lambda: f"the run goes on: {self.states()}",
            timeout,
        )

    def until_processes_are_gone(self, timeout: float = 60) -> None:
        """
        Wait until the processes that run the operator have ended.

        :param timeout: seconds.
        """
        pids = [notice["pid"] for notice in self._noted("execute")]
        self._wait(
            lambda: not any(psutil.pid_exists(pid) for pid in pids), lambda: f"{pids} run; {self.states()}", timeout
        )

    def states(self) -> list[str]:
        """Ask Airflow for the states of the tasks."""
        instances = self.matrix.stack.api.task_instances(self.dag_id, self.run_id)
        return [str(ti["state"]) for ti in instances if ti["task_id"] == TASK_ID]

    def open_gate(self) -> None:
        """Let the tasks go on that wait at the gate."""
        self.matrix.open_gate(self.run_id)

    # --- act

    def act(self, at: float | None = None) -> None:
        """
        Say that what ends the task happens now; what runs by now is what must be ended.

        :param at: when it happens, if not now.
        """
        self.acted_at = at or time.time()
        self._victims = tuple(self.active_ids())

    def mark(self, state: str) -> None:
        """Mark the tasks, as a click on them does."""
        self.act()
        for map_index in range(self.width) if self.width > 1 else (-1,):
            self.matrix.stack.api.mark(self.dag_id, self.run_id, TASK_ID, state, map_index)

    def mark_run(self, state: str) -> None:
        """Mark the DAG run."""
        self.act()
        self.matrix.stack.api.mark_run(self.dag_id, self.run_id, state)

    def clear(self) -> None:
        """Clear the tasks."""
        self.act()
        self.matrix.stack.api.clear(self.dag_id, self.run_id, TASK_ID)

    def delete_task_instance(self) -> None:
        """Delete the row of the task instance."""
        self.act()
        self.matrix.stack.api.delete_task_instance(self.dag_id, self.run_id, TASK_ID)

    def kill(self, number: int, *, task: bool = True, supervisor: bool = False) -> None:
        """
        Send a signal to the processes of the tasks, those of the last try.

        :param number: the signal.
        :param task: whether to the process that runs the operator.
        :param supervisor: whether to the one that supervises it.
        """
        self.act()
        for notice in self._noted("execute")[-self.width :]:
            for pid, chosen in ((notice["parent"], supervisor), (notice["pid"], task)):
                if chosen:
                    os.kill(pid, number)

    # --- expect

    def end(self, states: Iterable[str] | None = None) -> None:
        """
        Write the line of the table, and keep the run for the last look.

        :param states: the states, when Airflow does not know them any more.
        """
        self.check_one_at_a_time()
        notices = [n["at"] for n in self.matrix.notices(self.run_id) if n["what"] in _NOTICED]
        noticed = [at for at in notices if at >= self.acted_at]
        # Of a crowd, what was noticed first is hardly about the one that was cancelled last.
        first = min(noticed) if noticed and self.width <= 2 else None
        cancelled = self.cancelled_at
        acted_at = self.down_until or self.acted_at
        if self.down_until is not None:
            first = None
        self.matrix.outcomes.append(
            Outcome(
                kind=self.kind,
                row=self.row,
                title=self.title,
                mode=self.mode,
                state="/".join(sorted(set(states or self.states()))),
                # A task starts some time before it notes it, and so does its deadline.
                cancelled_after=None if cancelled is None else max(0.0, cancelled - acted_at),
                # Nobody can notice what has been cancelled already.
                after_notice=None if cancelled is None or first is None else max(0.0, cancelled - first),
                stopped_after=None if self.stopped_at is None else max(0.0, self.stopped_at - self.acted_at),
                started=self._counts()[0] // self.width,
            )
        )
        self._at_the_end = self._counts()
        self.matrix.remember(self)

    def what_came_late(self) -> list[str]:
        """Tell what was started or sent after the scenario had ended."""
        if not self._at_the_end[0] or self._counts() == self._at_the_end:
            return []
        return [
            f"{self.row} {self.title} ({self.mode}): {self._at_the_end} became {self._counts()} (started, sent)"
        ]

    def sweep(self) -> None:
        """Leave nothing behind that later scenarios would have to share the machine with."""
        self.end_all()
        api = self.matrix.stack.api
        if self.run_id and any(state not in OVER for state in self.states()):
            api.mark_run(self.dag_id, self.run_id, "failed")

    # ---

    def _noted(self, what: str) -> list[dict[str, Any]]:
        return [notice for notice in self.matrix.notices(self.run_id) if notice["what"] == what]

    def _texts_of_all(self) -> str:
        return f"{self._texts()}\n{self.states()}"

    def _wait(self, holds: Callable[[], bool], what: Callable[[], str], timeout: float) -> None:
        try:
            wait_until(holds, timeout=timeout * self.matrix.patience, what=what)
        except AssertionError as error:
            if not self.acted_at:
                # An operator that is expected to fail must not seem to, because a scenario never got under way.
                raise NotUnderWayError(str(error)) from error
            raise


def received_at(request: RecordedRequest) -> float:
    """Tell when Kernel received a request, in seconds since the epoch."""
    return time.time() - time.monotonic() + request.received_at
