"""
What happens while Kernel is down: row 22.

One outage for all: the runs are started, Kernel goes down, everything is done to them that a user, Airflow or the
machine can do, and Kernel comes back.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from airflow_stack.rest import timestamp, wait_until
from system.scenario import BLOCKING, DEFERRABLE, Run

#: After which nothing may be active that nobody waits for.
_SECONDS_AFTER = 120
#: How many polls after the outage show that a task waits again.
_POLLS = 3

ENDED, REPLACED, KEPT, ENDED_OR_KEPT = "ended", "replaced", "kept", "ended or kept"


def sigterm(run):
    run.kill(signal.SIGTERM)


def sigkill(run):
    run.kill(signal.SIGKILL)


def sigkill_at_the_gate(run):
    run.kill(signal.SIGKILL)
    run.open_gate()


def clear_and_sigkill(run):
    run.clear()
    run.kill(signal.SIGKILL)


@dataclass(frozen=True)
class Case:
    """
    What is done to one run.

    :param title: what.
    :param variant: to which DAG.
    :param mode: how its task waits.
    :param act: does it.
    :param expected: what becomes of the invocation. On the last try either is right: it depends on when the try
        looks whether it finds the invocation.
    :param state: how the task ends.
    :param needs_sweep: whether Airflow calls nobody when the process that it kills cannot end the invocation.
    """

    title: str
    variant: str
    mode: str
    act: Callable[[Run], None]
    expected: str
    state: str
    needs_sweep: bool = False

    @property
    def is_gated(self):
        return "gated" in self.variant


CASES = [
    *(
        case
        for mode in (BLOCKING, DEFERRABLE)
        for case in (
            Case("marked failed", "safe", mode, lambda run: run.mark("failed"), ENDED, "failed"),
            Case("marked success", "safe", mode, lambda run: run.mark("success"), ENDED, "success"),
            # A DAG run that is marked calls no callback.
            Case(
                "DAG run marked success",
                "safe",
                mode,
                lambda run: run.mark_run("success"),
                ENDED,
                "success",
                needs_sweep=mode == BLOCKING,
            ),
            # Without a retry, the next try fails if Kernel is still down.
            Case("cleared", "safe_retries", mode, Run.clear, REPLACED, "success"),
            Case("nothing else", "safe", mode, Run.act, KEPT, "success"),
        )
    ),
    Case("cleared, then SIGKILL to the task", "safe_retries", BLOCKING, clear_and_sigkill, REPLACED, "success"),
    Case("SIGTERM to the task, retries left", "safe_retries", BLOCKING, sigterm, REPLACED, "success"),
    Case("SIGTERM to the task, no retry left", "safe", BLOCKING, sigterm, ENDED, "failed"),
    Case("SIGKILL to the task, retries left", "safe_retries", BLOCKING, sigkill, KEPT, "success"),
    Case("SIGKILL to the task, one retry left", "safe_last_try", BLOCKING, sigkill, ENDED_OR_KEPT, "failed"),
    Case("SIGKILL to the task, no retry left", "safe", BLOCKING, sigkill, ENDED, "failed"),
    Case(
        "SIGKILL before it defers, retries left",
        "safe_gated_retries",
        DEFERRABLE,
        sigkill_at_the_gate,
        KEPT,
        "success",
    ),
    Case("SIGKILL before it defers, no retry left", "safe_gated", DEFERRABLE, sigkill_at_the_gate, ENDED, "failed"),
]


class Play:
    """
    A case and its run.

    :param case: the case.
    :param run: its run.
    """

    def __init__(self, case, run):
        self.case, self.run = case, run
        self._polls = 0

    def prepare(self):
        if self.case.is_gated:
            self.run.until_started()
            self.run.until_noted("at the gate")
        else:
            self.run.until_waiting(timeout=180)

    def kernel_is_back(self, at):
        self.run.down_until = at
        self._polls = self.run.polls

    @property
    def is_settled(self):
        """Whether nothing is active that nobody waits for, and whether what should go on does."""
        gone = all(record.finished and not record.browsers for record in self.run.victims)
        active = len(self.run.active)
        # Deferred tasks are polled together, by Kernel's list.
        is_polled = self.run.is_deferrable or self.run.polls >= self._polls + _POLLS
        waits = active == 1 and is_polled and self.run.states() in (["running"], ["deferred"])
        return {
            ENDED: gone and not active,
            REPLACED: gone and waits,
            KEPT: waits,
            ENDED_OR_KEPT: (gone and not active) or waits,
        }[self.case.expected]

    def check(self):
        """Expect what became of it during the outage; let succeed what still runs."""
        run, case = self.run, self.case
        found = f"task {run.states()}, invocations {[record.status for record in run.invocations]}"
        if not self.is_settled:
            raise AssertionError(f"the invocation was not {case.expected}: {found}")
        if case.expected == KEPT or (case.expected == ENDED_OR_KEPT and run.active):
            run.expect_going_on()
        else:
            assert {record.status for record in run.victims} == {"failed"}, found
            ended_at = max(timestamp(record.finished_at) for record in run.victims)
            run.cancelled_at = max(ended_at, run.down_until)
        if run.active:
            run.let_succeed()

    def check_end(self):
        """Expect the end of the task."""
        run, case = self.run, self.case
        if run.has_succeeded:
            run.expect_succeeded()
        else:
            run.until_state(case.state)
        run.expect_started(2 if case.expected == REPLACED else 1)
        run.end()


@pytest.fixture
def sweep(stack):
    """Start the sweep."""
    stack.wait_for_dags({"sweep"})
    return lambda: stack.api.start_run("sweep")


@pytest.mark.row("22", "Kernel is down", celery=True)
def test_whatever_happens_while_kernel_is_down(start, kernel, sweep, outage, is_full):
    plays = [Play(case, start(case.variant, case.mode, "22", f"{case.title}, Kernel down")) for case in CASES]
    for play in plays:
        play.prepare()

    kind, seconds = outage
    down = kernel.outage(kind, seconds=seconds)
    for play in plays:
        play.case.act(play.run)
    down.wait_until_over(seconds + 10)
    back = time.time()
    for play in plays:
        play.kernel_is_back(back)
    failures = []
    if is_full:
        sweep_every_minute(sweep, until=back + _SECONDS_AFTER)
    else:
        without_sweep = [play for play in plays if not play.case.needs_sweep]
        until_settled(without_sweep)
        failures += [
            f"{play.case.title}, {play.case.mode}: too late" for play in without_sweep if not play.is_settled
        ]
        sweep()
        until_settled(plays)

    for step in (Play.check, Play.check_end):
        for play in list(plays):
            try:
                step(play)
            except AssertionError as error:
                failures.append(f"{play.case.title}, {play.case.mode}: {error}")
                plays.remove(play)
    assert not failures, "\n".join(failures)


def until_settled(plays):
    """Wait until all are, or until it is too late: the check says for which."""
    with contextlib.suppress(AssertionError):
        wait_until(lambda: all(play.is_settled for play in plays), timeout=_SECONDS_AFTER / 2, what=str)


def sweep_every_minute(sweep, until):
    """Sweep until a time: also what ends an invocation wrongly may do so late."""
    swept_at = 0.0
    while time.time() < until:
        if time.time() > swept_at + 60:
            swept_at = time.time()
            sweep()
        time.sleep(1)
