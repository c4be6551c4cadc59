"""What a scenario of the kill matrix is told with: start a run, act on it, and say what is expected."""

from __future__ import annotations

import json
import time
from collections.abc import Container, Iterable
from dataclasses import dataclass

from airflow_provider_kernel.testing import InvocationRecord
from airflow_provider_kernel.testing.resources.invocations.record import most_active_at_once
from system.task_run import OVER, TASK_ID, TaskRun
from system.under_test.variants import BLOCKING, DEFERRABLE, MAPPED, MAPPED_BLOCKING, VARIANTS, dag_id


@dataclass
class Run(TaskRun):
    """A run of a DAG whose task waits for an invocation."""

    _succeeded: tuple[str, ...] = ()

    kind = "invocation"

    @property
    def dag_id(self) -> str:
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
        many = 2 if self.mode in (MAPPED, MAPPED_BLOCKING) else 1
        return int(VARIANTS[self.variant][1].get("items", many))

    @property
    def is_deferrable(self) -> bool:
        """Whether it waits in the triggerer."""
        return self.mode in (DEFERRABLE, MAPPED)

    # --- arrange

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

    # --- act

    def act_on(self, items: Container[int]) -> None:
        """
        Say that what ends some of many tasks happens now.

        :param items: which.
        """
        self.act()
        self._victims = tuple(record.id for record in self.active if _item(record) in items)

    def finish(self, items: Iterable[int]) -> None:
        """
        Let the invocations of some of many tasks succeed.

        :param items: which.
        """
        ids = {_item(record): record.id for record in self.active}
        for item in items:
            self.matrix.kernel.finish(ids[item], output={"answer": item})

    # --- expect

    def expect_cancelled(self, within: float = 60) -> None:
        """
        Expect that what ran is ended, with its browsers.

        :param within: seconds. A callback of a DAG whose file is being read waits until the file is read again,
            after ``[dag_processor] min_file_process_interval``.
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
        by_item: dict[int, list[InvocationRecord]] = {}
        for record in self.invocations:
            by_item.setdefault(_item(record), []).append(record)
        for of_item in by_item.values():
            assert most_active_at_once(of_item) <= 1, f"two at once: {self._texts()}"

    # ---

    def active_ids(self) -> list[str]:
        return [record.id for record in self.active]

    def end_all(self) -> None:
        for invocation_id in self.active_ids():
            self.matrix.kernel.finish(invocation_id, output=None)

    def _counts(self) -> tuple[int, int]:
        return len(self.invocations), sum(self._patches(record.id) for record in self.invocations)

    def _patches(self, invocation_id: str) -> int:
        return len(self.matrix.kernel.requests("PATCH", f"/invocations/{invocation_id}"))

    def _record(self, invocation_id: str) -> InvocationRecord:
        return self.matrix.kernel.invocation(invocation_id)

    def _texts(self) -> str:
        return "\n".join(str(record) for record in self.invocations) or "(no invocation)"


def _item(record: InvocationRecord) -> int:
    """Tell which of many tasks an invocation belongs to."""
    return int(json.loads(record.payload or "{}")["_item"])
