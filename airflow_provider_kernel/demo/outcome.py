"""How an example ended, compared with its expectations."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from airflow_provider_kernel.demo.expected import Example, ExpectedTask
from airflow_provider_kernel.demo.kernel import ObservedInvocation

#: Max instances of a mapped task that are shown one by one.
MOST_INSTANCES = 5


@dataclass(frozen=True)
class TaskOutcome:
    """
    How a task instance ended.

    :param name: the task ID, with the map index of a mapped task.
    :param state: the task instance's state.
    :param invocation: the task's invocation, if it has one.
    :param output: that invocation's output; without an invocation, the task's return value.
    """

    name: str
    state: str
    invocation: ObservedInvocation | None
    output: Any

    def row(self) -> tuple[str, ...]:
        """Return the cells of its row in the table."""
        invocation = self.invocation
        return (
            self.name,
            invocation.id if invocation else "",
            f"{self.state} / {invocation.status}" if invocation else self.state,
            as_text(self.output),
        )


@dataclass(frozen=True)
class Outcome:
    """
    How an example ended.

    :param tasks: its task instances.
    :param invocations: the invocations that were started.
    :param browsers: number of browsers, of invocations and of tasks, that are still open.
    :param started_browsers: number of browsers that its tasks have started.
    :param error: why the example could not be run.
    :param not_run: why the demo has not tried to.
    """

    tasks: tuple[TaskOutcome, ...] = ()
    invocations: tuple[ObservedInvocation, ...] = ()
    browsers: int = 0
    started_browsers: int = 0
    error: str | None = None
    not_run: str | None = None

    def rows(self) -> list[tuple[str, ...]]:
        """Return the cells of its rows in the table."""
        if self.not_run is not None:
            return [("", "", "not run", self.not_run)]
        return abridged(self.tasks)


def differences(example: Example, outcome: Outcome) -> list[str]:
    """Return a line for each difference between expectations and outcome."""
    if outcome.not_run is not None:
        return []
    found = [outcome.error] if outcome.error else []
    expected = {task.name: task for task in example.tasks}
    names = {task.name for task in outcome.tasks}
    found += [f"task {name}: missing" for name in expected if name not in names]
    for task in outcome.tasks:
        if task.name in expected:
            found += _task_differences(expected[task.name], task)
        else:
            found.append(f"task {task.name}: unexpected")
    started = [invocation.action for invocation in outcome.invocations]
    if Counter(started) != Counter(example.actions):
        found.append(f"invocations: started {counted(started)}, expected {counted(example.actions)}")
    found += [
        f"invocation {invocation.id}: left {invocation.status}"
        for invocation in outcome.invocations
        if invocation.active
    ]
    ends = [(invocation.status, invocation.output) for invocation in outcome.invocations]
    if example.answer is not None and example.answer not in ends:
        found.append(f"answer: the caller got {ends}, expected {example.answer}")
    if outcome.started_browsers != example.browsers:
        found.append(f"browsers: started {outcome.started_browsers}, expected {example.browsers}")
    if outcome.browsers:
        found.append(f"browsers: {outcome.browsers} left open")
    return found


def counted(actions: Iterable[str]) -> str:
    """Return the actions as text, such as ``3 x echo, hang``."""
    counts = sorted(Counter(actions).items())
    return ", ".join(action if count == 1 else f"{count} x {action}" for action, count in counts) or "none"


def abridged(tasks: Sequence[TaskOutcome]) -> list[tuple[str, ...]]:
    """Return rows of the table; a task with many instances shows its first and its last."""
    rows: list[tuple[str, ...]] = []
    for _, group in groupby(tasks, key=lambda task: task.name.partition("[")[0]):
        found = [task.row() for task in group]
        if len(found) > MOST_INSTANCES:
            between = found[1:-1]
            endings = ", ".join(sorted({row[2] for row in between}))
            found = [found[0], ("…", f"{len(between)} more", endings, "…"), found[-1]]
        rows += found
    return rows


def as_text(output: Any) -> str:
    """Return an output as a cell of the table."""
    if output is None:
        return ""
    return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False, default=str)


def _task_differences(expected: ExpectedTask, actual: TaskOutcome) -> list[str]:
    pairs = (
        ("state", actual.state, expected.state),
        ("invocation", actual.invocation.status if actual.invocation else None, expected.invocation),
        ("output", actual.output, expected.output),
    )
    return [
        f"task {expected.name}: {what} is {is_!r}, expected {wanted!r}"
        for what, is_, wanted in pairs
        if is_ != wanted
    ]
