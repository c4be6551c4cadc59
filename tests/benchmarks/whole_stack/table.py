"""The table that a benchmark leaves behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from statistics import mean
from typing import TYPE_CHECKING

from whole_stack.processor_time import EMULATOR, WORKERS
from whole_stack.run import KERNEL, Outcome

if TYPE_CHECKING:
    from goals import Goals

#: Kinds of requests that have a line of their own, also when there are none.
_REQUESTS = ("creates", "looks", "lists", "streams", "updates")
#: Of less than this much (seconds, mostly) a ratio says nothing.
_LEAST = 0.05
#: How much of the cores others may take, the benchmark's own looks included, without spoiling the times.
_QUIET = 0.1


def as_markdown(outcomes: Sequence[Outcome]) -> str:
    """
    Write it for a terminal and for the documentation.

    :param outcomes: the runs, in the order in which they were.
    """
    head = ["", *(f"{number}. {_title(outcome)}" for number, outcome in enumerate(outcomes, 1)), "Kernel / Airflow"]
    lines = [head, *_lines(outcomes)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    lines.insert(1, ["-" * width for width in widths[:1]] + ["-" * (width - 1) + ":" for width in widths[1:]])
    return "\n".join(
        "| "
        + " | ".join(
            cell.ljust(widths[0]) if not column else cell.rjust(widths[column]) for column, cell in enumerate(line)
        )
        + " |"
        for line in lines
    )


def _title(outcome: Outcome) -> str:
    return "Kernel" if outcome.dag_id == KERNEL else "Airflow's own"


def check_goals(outcomes: Sequence[Outcome], goals: Goals) -> None:
    """
    Take note of the goals. They are those of the benchmark's defaults.

    :param outcomes: the runs, in the order in which they were.
    :param goals: collects them.
    """

    def ratio(value: Callable[[Outcome], float]) -> float:
        pairs = [(outcome, value(outcome)) for outcome in outcomes]
        kernel = mean(found for outcome, found in pairs if outcome.dag_id == KERNEL)
        return kernel / mean(found for outcome, found in pairs if outcome.dag_id != KERNEL)

    kernel = next(outcome for outcome in outcomes if outcome.dag_id == KERNEL)
    goals.at_most(f"CPU of {WORKERS}, of Airflow's own", ratio(lambda o: o.cpu[WORKERS]), 1.5)
    goals.at_most("CPU of Airflow and its database, of Airflow's own", ratio(_seconds_of_airflow), 1.4)
    goals.at_most("the run without its wait, of Airflow's own", ratio(lambda o: o.seconds - o.wait_seconds), 1.4)
    goals.at_most("API requests for each task", kernel.served.requests.total() / len(kernel.tasks), 4.5)


def _seconds_of_airflow(outcome: Outcome) -> float:
    # The emulator stands for servers of Kernel's own.
    return sum(taken for name, taken in outcome.cpu.items() if name != EMULATOR)


def _lines(outcomes: Sequence[Outcome]) -> Iterator[list[str]]:
    def line(what: str, value: Callable[[Outcome], float], form: str = ",.1f") -> list[str]:
        values = [value(outcome) for outcome in outcomes]
        return [what, *(format(one, form) for one in values), _ratio(outcomes, values)]

    def number(what: str, value: Callable[[Outcome], float]) -> list[str]:
        return line(what, value, ",.0f")

    def spread(what: str, values: Callable[[Outcome], Iterable[float]]) -> list[str]:
        found = [sorted(values(outcome)) for outcome in outcomes]
        cells = [f"{_at(one, 0.5):,.1f} / {_at(one, 0.99):,.1f}" for one in found]
        return [f"{what}, s (p50 / p99)", *cells, _ratio(outcomes, [_at(one, 0.5) for one in found])]

    def between(one: str, other: str) -> Callable[[Outcome], Iterable[float]]:
        return lambda outcome: [task.at(other) - task.at(one) for task in outcome.tasks]

    yield line("the whole run, s", lambda o: o.seconds)
    yield line("... without the wait itself, s", lambda o: o.seconds - o.wait_seconds)
    yield line("first start to last deferral, s", _seconds_to_defer_all)
    yield number("deferred at once, at most", _deferred_at_once)
    yield spread("start to deferral", between("start", "defer"))
    yield spread("deferral to resumption", between("defer", "resume"))
    yield spread("... wait over, to its event", lambda o: [t.event_taken_at - o.over_at(t) for t in o.tasks])
    yield spread("... event, to resumption", lambda o: [t.at("resume") - t.event_taken_at for t in o.tasks])
    yield spread("resumption to end", between("resume", "end"))
    yield line(f"CPU of {WORKERS}, s", lambda o: o.cpu[WORKERS])
    yield line("... for each task, s", lambda o: o.cpu[WORKERS] / len(o.tasks), ",.2f")
    for name in outcomes[0].cpu:
        if name != WORKERS:
            yield line(f"CPU of {name}, s", lambda o, name=name: o.cpu[name])
    yield line("CPU of all but the emulator, s", _seconds_of_airflow)
    yield line("CPU of all of them, s", lambda o: sum(o.cpu.values()))
    yield line("... of what the cores have", lambda o: _share(o, sum(o.cpu.values())), ".0%")
    yield line("others on this machine, of what the cores have", _share_of_others, ".0%")
    yield number("memory of the triggerer, at most, MB", lambda o: o.triggerer_megabytes)
    others = sorted({kind for outcome in outcomes for kind in outcome.served.requests} - set(_REQUESTS))
    for kind in (*_REQUESTS, *others):
        yield number(f"API requests: {kind}", lambda o, kind=kind: o.served.requests[kind])
    yield line("API requests for each task", lambda o: o.served.requests.total() / len(o.tasks))
    for status in sorted({status for outcome in outcomes for status in outcome.served.refusals}):
        yield number(f"API answers: {status}", lambda o, status=status: o.served.refusals[status])


def _ratio(outcomes: Sequence[Outcome], values: Sequence[float]) -> str:
    pairs = list(zip(outcomes, values, strict=True))
    kernel = mean(value for outcome, value in pairs if outcome.dag_id == KERNEL)
    airflow = mean(value for outcome, value in pairs if outcome.dag_id != KERNEL)
    return f"{kernel / airflow:.2f}" if airflow >= _LEAST else "-"


def _at(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))]


def _seconds_to_defer_all(outcome: Outcome) -> float:
    return max(task.at("defer") for task in outcome.tasks) - min(task.at("start") for task in outcome.tasks)


def _deferred_at_once(outcome: Outcome) -> float:
    steps = [(task.at("defer"), 1) for task in outcome.tasks] + [(task.at("resume"), -1) for task in outcome.tasks]
    return max(accumulate(change for _, change in sorted(steps)))


def warning(outcomes: Sequence[Outcome]) -> str:
    """
    Say whether something else ran on the machine; empty when it did not.

    :param outcomes: the runs.
    """
    shares = [_share_of_others(outcome) for outcome in outcomes]
    if max(shares) < _QUIET:
        return ""
    return (
        f"Others took {min(shares):.0%} to {max(shares):.0%} of the cores: this says nothing about how long things "
        "take, only about processor time and requests. Run it on a machine that does nothing else."
    )


def _share_of_others(outcome: Outcome) -> float:
    return _share(outcome, max(0.0, outcome.machine_cpu - sum(outcome.cpu.values())))


def _share(outcome: Outcome, seconds: float) -> float:
    return seconds / outcome.seconds_watched / (os.cpu_count() or 1)
