"""The table that a run of the matrix leaves behind."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from statistics import median

import airflow

from system.task_run import Outcome

_HEAD = ("row", "how the task ends", "mode", "final state", "cancelled after", "after Airflow's call", "started")
_BROWSER_HEAD = (
    *("row", "how the task ends", "function", "final state"),
    *("browser deleted after", "after Airflow's call", "function stopped after", "browsers"),
)
#: What the provider may take once Airflow has called it.
_LIMIT = 2.0


def as_text(outcomes: Sequence[Outcome]) -> str:
    """
    Write it for a terminal.

    :param outcomes: its lines.
    """
    texts = []
    for head, of_kind in _by_kind(outcomes):
        lines = [head, *_lines(of_kind)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
        texts += ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
        texts += ["", _summary(of_kind), ""]
    return "\n".join(texts)


def as_markdown(outcomes: Sequence[Outcome], *, executor: str, cores: int | None, command: str) -> dict[str, str]:
    """
    Write it for the documentation: what the tasks owned, and the table.

    :param outcomes: its lines.
    :param executor: what ran the tasks.
    :param cores: how many the machine has.
    :param command: what wrote it.
    """
    where = {"local": "LocalExecutor", "celery": "CeleryExecutor, two workers"}[executor]
    texts = {}
    for head, of_kind in _by_kind(outcomes):
        kind = of_kind[0].kind
        title = where if kind == "invocation" else f"Tasks with a browser, {where}"
        lines = [head, ("---",) * len(head), *_lines(of_kind)]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        texts[kind] = (
            f"## {title}\n\nAirflow {airflow.__version__} on Postgres, {cores} cores. Written by `{command}`.\n\n"
            f"{table}\n\n{_summary(of_kind)}\n"
        )
    return texts


def failures_as_markdown(failed: Sequence[tuple[str, str, str]]) -> str:
    """
    Write which rows an operator failed.

    :param failed: row, title and mode of each.
    """
    head = _HEAD[:3]
    lines = [head, ("---",) * len(head)]
    lines += [(row, title, mode) for row, title, mode in sorted(failed, key=lambda one: (_order(one[0]), *one[1:]))]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _by_kind(outcomes: Sequence[Outcome]) -> Iterator[tuple[tuple[str, ...], list[Outcome]]]:
    for kind, head in (("invocation", _HEAD), ("browser", _BROWSER_HEAD)):
        of_kind = [outcome for outcome in outcomes if outcome.kind == kind]
        if of_kind:
            yield head, of_kind


def _lines(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    in_order = sorted(outcomes, key=lambda outcome: (_order(outcome.row), outcome.title, outcome.mode))
    return [
        (
            outcome.row,
            outcome.title,
            outcome.mode.replace("_", " "),
            outcome.state,
            _seconds(outcome.cancelled_after),
            _seconds(outcome.after_notice),
            *([_seconds(outcome.stopped_after)] if outcome.kind == "browser" else []),
            str(outcome.started),
        )
        for outcome in in_order
    ]


def _order(row: str) -> tuple[int, str]:
    number = re.match(r"\d+", row)
    return (int(number.group()) if number else 99, row)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _summary(outcomes: Sequence[Outcome]) -> str:
    cancelled = [o.cancelled_after for o in outcomes if o.cancelled_after is not None]
    after = [o for o in outcomes if o.after_notice is not None]
    if not cancelled or not after:
        return f"{len(outcomes)} scenarios."
    ended = {"invocation": "cancelled", "browser": "deleted"}[outcomes[0].kind]
    slow = [f"{o.row} {o.mode}" for o in after if (o.after_notice or 0) > _LIMIT]
    times = [o.after_notice or 0.0 for o in after]
    return (
        f"{len(outcomes)} scenarios. "
        f"Killed to {ended}: median {median(cancelled):.1f} s, worst {max(cancelled):.1f} s. "
        f"Airflow's call to {ended}: median {median(times):.2f} s, worst {max(times):.2f} s; "
        + (f"above {_LIMIT:g} s: {', '.join(slow)}." if slow else f"none above {_LIMIT:g} s.")
    )
