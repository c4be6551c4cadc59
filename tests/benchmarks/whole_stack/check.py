"""Whether everything went as it must, whatever the time it took."""

from __future__ import annotations

import json
from collections.abc import Iterator

from whole_stack.run import AIRFLOW, Outcome

#: What each task does, once each.
_STEPS = ("start", "defer", "resume", "end")
_GOOD = ("queued", "running", "succeeded")


def faults(outcome: Outcome, count: int) -> list[str]:
    """
    List what went wrong in a run.

    :param outcome: the run.
    :param count: how many tasks it should have had.
    """
    found = [*_faults_of_tasks(outcome, count), *_faults_of_invocations(outcome, count)]
    return [f"{outcome.dag_id}: {fault}" for fault in found]


def _faults_of_tasks(outcome: Outcome, count: int) -> Iterator[str]:
    if outcome.state != "success":
        yield f"the run is {outcome.state}"
    numbers = [task.number for task in outcome.tasks]
    if sorted(numbers) != list(range(count)):
        yield f"it had {len(numbers)} tasks rather than {count}"
    for task in outcome.tasks:
        if task.state != "success":
            yield f"task {task.number} is {task.state}"
        for step in _STEPS:
            times = len(task.notes.get(step, ()))
            if times != 1:
                yield f"task {task.number} did {step!r} {times} times"
        if task.result != {"number": task.number}:
            yield f"task {task.number} returned {task.result!r}"


def _faults_of_invocations(outcome: Outcome, count: int) -> Iterator[str]:
    for number in range(0 if outcome.dag_id == AIRFLOW else count):
        started = outcome.invocations.get(number, [])
        if len(started) != 1:
            yield f"task {number} has {len(started)} invocations"
        for invocation in started:
            if invocation.statuses != _GOOD:
                yield f"the invocation of task {number} was {', '.join(invocation.statuses)}"
            if invocation.output is None or json.loads(invocation.output) != {"number": number}:
                yield f"the invocation of task {number} has the output {invocation.output}"
    stray = set(outcome.invocations) - set(range(0 if outcome.dag_id == AIRFLOW else count))
    if stray:
        yield f"there are invocations that no task should have started: {sorted(stray)}"
    if outcome.served.requests["updates"]:
        yield f"{outcome.served.requests['updates']} invocations were updated (cancelled) from outside"
    for status, times in sorted(outcome.served.refusals.items()):
        yield f"the emulator answered {times} times with {status}"
