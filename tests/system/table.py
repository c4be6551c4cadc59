"""The table that a run of the matrix leaves behind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import median

import airflow

from system.scenario import Outcome

_HEAD = ("row", "how the task ends", "mode", "final state", "cancelled after", "after Airflow's call", "started")
#: What the provider may take once Airflow has called it.
_LIMIT = 2.0


def as_text(outcomes: Sequence[Outcome]) -> str:
    """
    Write it for a terminal.

    :param outcomes: its lines.
    """
    lines = [_HEAD, *_lines(outcomes)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    return "\n".join([*table, "", _summary(outcomes)])


def as_markdown(outcomes: Sequence[Outcome], *, executor: str, cores: int | None) -> str:
    """
    Write it for the documentation.

    :param outcomes: its lines.
    :param executor: what ran the tasks.
    :param cores: how many the machine has.
    """
    title = {"local": "LocalExecutor", "celery": "CeleryExecutor, two workers"}[executor]
    lines = [_HEAD, ("---",) * len(_HEAD), *_lines(outcomes)]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return (
        f"## {title}\n\nAirflow {airflow.__version__} on Postgres, {cores} cores. Written by "
        f"`uv run pytest tests/system --executor {executor} --table <file>`.\n\n{text}\n\n{_summary(outcomes)}\n"
    )


def failures_as_markdown(failed: Sequence[tuple[str, str, str]]) -> str:
    """
    Write which rows an operator failed.

    :param failed: row, title and mode of each.
    """
    head = _HEAD[:3]
    lines = [head, ("---",) * len(head)]
    lines += [(row, title, mode) for row, title, mode in sorted(failed, key=lambda one: (_order(one[0]), *one[1:]))]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


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
    slow = [f"{o.row} {o.mode}" for o in after if (o.after_notice or 0) > _LIMIT]
    times = [o.after_notice or 0.0 for o in after]
    return (
        f"{len(outcomes)} scenarios. "
        f"Killed to cancelled: median {median(cancelled):.1f} s, worst {max(cancelled):.1f} s. "
        f"Airflow's call to cancelled: median {median(times):.2f} s, worst {max(times):.2f} s; "
        + (f"above {_LIMIT:g} s: {', '.join(slow)}." if slow else f"none above {_LIMIT:g} s.")
    )
