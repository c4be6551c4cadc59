"""What a scenario of the kill matrix is told with: start a run, act on it, and say what is expected."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_kernel.testing import InvocationRecord, KernelEmulator
from airflow_provider_kernel.testing.resources.invocations.record import most_active_at_once
from airflow_stack.rest import wait_until
from airflow_stack.stack import AirflowStack
from system.under_test.variants import BLOCKING, DEFERRABLE, MAPPED, MAPPED_BLOCKING, VARIANTS, dag_id

TASK_ID = "invoke"
#: What a person sees as over.
OVER = ("success", "failed", "skipped", "upstream_failed", "removed")

#: What Airflow calls when it has noticed, by what was noted.
_NOTICED = ("operator.on_kill", "trigger.on_kill", "net", "net of the task", "resume", "execute")


@dataclass(frozen=True)
class Outcome:
    """
    A line of the table.

    :param row: the number of the row in the matrix.
    :param title: how the task ended.
    :param mode: blocking, deferrable or mapped.
    :param state: the final state of the task.
    :param cancelled_after: seconds from the act to the cancel; None when nothing was cancelled.
    :param after_notice: seconds from Airflow's first call to the cancel; None when Airflow called nothing.
    :param started: how many invocations were started for the task.
    """

    row: str
    title: str
    mode: str
    state: str
    cancelled_after: float | None
    after_notice: float | None
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
        self._ended: list[Run] = []

    def notices(self, run_id: str) -> list[dict[str, Any]]:
        """Read what was noted of a run."""
        path = self._folder / "notices"
        if not path.exists():
            return []
        notices = [json.loads(line) for line in path.read_text().splitlines()]
        return [notice for notice in notices if notice["run_id"] == run_id]

    def open_gate(self, run_id: str) -> None:
        """Let the tasks of a run pass."""
        (self._folder / run_id).touch()

    def remember(self, run: Run) -> None:
        """Look at a run once more at the very end."""
        self._ended.append(run)

    def recheck(self) -> None:
        """Make sure that nothing was started or sent after a scenario had ended."""
        late = [text for run in self._ended for text in run.what_came_late()]
        assert not late, "\n".join(late)


class NotUnderWayError(Exception):
    """What a scenario begins with did not come about."""


@dataclass
class Run:
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
    down_until: float | None = None
    _victims: tuple[str, ...] = ()
    _succeeded: tuple[str, ...] = ()
    _at_the_end: tuple[int, int] = field(default=(0, 0))

    @property
    def dag_id(self) -> str:
        """The DAG."""
        return dag_id(self.variant, self.mode)

    @property
    def invocations(self) -> list[InvocationRecord]:
        """The invocations of this run, in the order of their start."""
        return [
            record
            for record in self.matrix.kernel.invocations
            if record.payload and json.loads(record.payload).get("_run") == self.run_id
        ]

    @property
    def active(self) -> list[InvocationRecord]:
        """Those that still run."""
        return [record for record in self.invocations if not record.finished]

    @property
    def victims(self) -> list[InvocationRecord]:
        """Those that ran when what ends the task happened."""
        return [self._record(invocation_id) for invocation_id in self._victims]

    @property
    def polls(self) -> int:
        """How often the invocations of this run were fetched by their id, as a task on a worker does."""
        return sum(len(self.matrix.kernel.requests("GET", f"/invocations/{i.id}")) for i in self.invocations)

    @property
    def width(self) -> int:
        """How many tasks there are."""
        many = 2 if self.mode in (MAPPED, MAPPED_BLOCKING) else 1
        return int(VARIANTS[self.variant][1].get("items", many))

    @property
    def started_at(self) -> float:
        """When the DAG run began, in seconds since the epoch."""
        return self.matrix.stack.api.run_start(self.dag_id, self.run_id)

    @property
    def is_deferrable(self) -> bool:
        """Whether it waits in the triggerer."""
        return self.mode in (DEFERRABLE, MAPPED)

    # --- arrange

    def start(self) -> Run:
        """Start the DAG run."""
        self.run_id = self.matrix.stack.api.start_run(self.dag_id)
        return self

    def until_started(self) -> Run:
        """Wait until an invocation was started for each task."""
        self._wait(lambda: len(self.invocations) == self.width, self._texts_of_all, 90)
        return self

    def until_waiting(self, timeout: float = 90) -> Run:
        """
        Wait until the tasks wait for their invocations, on a worker or in the triggerer.

        :param timeout: seconds.
        """
        self._wait(
            lambda: len(self.invocations) == self.width and all(i.browsers == 1 for i in self.active),
            lambda: f"the invocations are {self._texts()}; {self.states()}",
            timeout,
        )
        state = "deferred" if self.is_deferrable else "running"
        self.until_state(state, over=False)
        if self.is_deferrable:
            self.until_noted("trigger.run", self.width, timeout)
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

    def until_looked_at(self, times: int = 3) -> None:
        """
        Wait until the task has looked at its invocations after the act: it goes on.

        :param times: how often.
        """

        def looks() -> list[int]:
            return [len(self.matrix.kernel.requests("GET", f"/invocations/{i}")) for i in self._victims]

        before = looks()
        self._wait(
            lambda: all(now >= was + times for now, was in zip(looks(), before, strict=True)),
            lambda: f"nobody looks any more: {looks()} after {before}; {self.states()}",
            90,
        )

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

    def until_workers_are_free(self) -> None:
        """Wait until another run has passed: whatever was queued before it has been taken by then."""
        other = Run(self.matrix, "short", BLOCKING, self.row, self.title).start()
        other.until_state("success")

    def until_state_follows_invocation(self) -> None:
        """Wait until either the task is over and nothing runs, or it waits for the one invocation that runs."""

        def agree() -> bool:
            (state,) = self.states() or ["None"]
            active = len(self.active)
            return (state in OVER and not active) or (state == "running" and active == 1)

        self._wait(agree, self._texts_of_all, 60)
        if self.active:
            self.expect_success()

    def states(self) -> list[str]:
        """Ask Airflow for the states of the tasks."""
        instances = self.matrix.stack.api.task_instances(self.dag_id, self.run_id)
        return [str(ti["state"]) for ti in instances if ti["task_id"] == TASK_ID]

    def open_gate(self) -> None:
        """Let the task go on to defer."""
        self.matrix.open_gate(self.run_id)

    # --- act

    def act(self, at: float | None = None, items: Container[int] | None = None) -> None:
        """
        Say that what ends the task happens now; what runs by now is what must be cancelled.

        :param at: when it happens, if not now.
        :param items: which of many tasks it happens to, if not to all.
        """
        self.acted_at = at or time.time()
        self._victims = tuple(record.id for record in self.active if items is None or _item(record) in items)

    def finish(self, items: Iterable[int]) -> None:
        """
        Let the invocations of some of many tasks succeed.

        :param items: which.
        """
        ids = {_item(record): record.id for record in self.active}
        for item in items:
            self.matrix.kernel.finish(ids[item], output={"answer": item})

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

    def expect_cancelled(self, within: float = 30) -> None:
        """
        Expect that what ran is ended, with its browsers.

        :param within: seconds.
        """
        ids = self._victims

        def cancelled() -> bool:
            return all(self._record(i).finished and self._record(i).browsers == 0 for i in ids)

        # The emulator wakes this up at the very moment.
        self.matrix.kernel.wait_until(cancelled, within * self.matrix.patience)
        self.cancelled_at = time.time()
        for invocation_id in ids:
            record = self._record(invocation_id)
            assert record.status == "failed", f"{record} was ended, but not cancelled"

    def expect_going_on(self, started: int | None = None) -> None:
        """
        Expect that what ran goes on untouched, and that nothing else was started.

        :param started: how many were started so far; by default one a task.
        """
        assert len(self.invocations) == (started or self.width), self._texts()
        for invocation_id in self._victims:
            assert not self._record(invocation_id).finished, self._texts()
            assert not self._patches(invocation_id), "something was sent to an invocation that should go on"

    def expect_nothing_sent(self) -> None:
        """Expect that nobody tried to end any of the invocations."""
        assert not [i for i in self.invocations if self._patches(i.id)], (
            "something was sent that ends an invocation"
        )

    def expect_new_one(self, started: int = 2) -> None:
        """
        Expect that another invocation was started, and let it finish: the task succeeds with its output.

        :param started: how many were started by then, for each task.
        """
        total = started * self.width
        self._wait(lambda: len(self.invocations) == total, self._texts_of_all, 90)
        self._wait(lambda: len(self.active) == self.width, self._texts_of_all, 30)
        self.expect_success()

    def expect_success(self) -> None:
        """Let what runs finish, and expect its output as the task's."""
        self.let_succeed()
        self.expect_succeeded()

    def let_succeed(self) -> None:
        """Let what runs finish."""
        self._succeeded = tuple(record.id for record in self.active)
        assert len(self._succeeded) == self.width, self._texts()
        for number, invocation_id in enumerate(self._succeeded):
            self.matrix.kernel.finish(invocation_id, output={"answer": number})

    @property
    def has_succeeded(self) -> bool:
        """Whether an invocation of this run was let finish."""
        return bool(self._succeeded)

    def expect_succeeded(self) -> None:
        """Expect the output of what was let finish as the task's."""
        self.until_state("success")
        for invocation_id in self._succeeded:
            assert not self._patches(invocation_id), "something was sent to an invocation that succeeded"
        if self.width == 1:
            assert self.matrix.stack.api.xcom(self.dag_id, self.run_id, TASK_ID) == {"answer": 0}

    def expect_started(self, count: int) -> None:
        """
        Expect how many invocations there were in all, and never two of a task at once.

        :param count: how many, for each task.
        """
        assert len(self.invocations) == count * self.width, self._texts()
        self.check_one_at_a_time()

    def check_one_at_a_time(self) -> None:
        """Expect that no task ever had two active invocations."""
        by_item: dict[int, list[InvocationRecord]] = {}
        for record in self.invocations:
            by_item.setdefault(_item(record), []).append(record)
        for of_item in by_item.values():
            assert most_active_at_once(of_item) <= 1, f"two at once: {self._texts()}"

    def end(self, states: Iterable[str] | None = None) -> None:
        """
        Write the line of the table, and keep the run for the last look.

        :param states: the states, when Airflow does not know them any more.
        """
        self.check_one_at_a_time()
        found = sorted(set(states or self.states()))
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
                row=self.row,
                title=self.title,
                mode=self.mode,
                state="/".join(found),
                # A task starts some time before it notes it, and so does its deadline.
                cancelled_after=None if cancelled is None else max(0.0, cancelled - acted_at),
                # Nobody can notice what has been cancelled already.
                after_notice=None if cancelled is None or first is None else max(0.0, cancelled - first),
                started=len(self.invocations) // self.width,
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
        for record in self.active:
            self.matrix.kernel.finish(record.id, output=None)
        api = self.matrix.stack.api
        if self.run_id and any(state not in OVER for state in self.states()):
            api.mark_run(self.dag_id, self.run_id, "failed")

    # ---

    def _counts(self) -> tuple[int, int]:
        return len(self.invocations), sum(self._patches(record.id) for record in self.invocations)

    def _patches(self, invocation_id: str) -> int:
        return len(self.matrix.kernel.requests("PATCH", f"/invocations/{invocation_id}"))

    def _record(self, invocation_id: str) -> InvocationRecord:
        return self.matrix.kernel.invocation(invocation_id)

    def _noted(self, what: str) -> list[dict[str, Any]]:
        return [notice for notice in self.matrix.notices(self.run_id) if notice["what"] == what]

    def _texts(self) -> str:
        return "\n".join(str(record) for record in self.invocations) or "(no invocation)"

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


def _item(record: InvocationRecord) -> int:
    """Tell which of many tasks an invocation belongs to."""
    return int(json.loads(record.payload or "{}")["_item"])
