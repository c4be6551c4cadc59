"""
What each limit of time does, by part of the package and by mode.

The page about limits shows this table; ``tests/unit/test_limit_outcomes.py`` plays each cell, and
``tests/processes/test_limit_outcomes.py`` those of a DAG run's timeout. Imports nothing.
"""

from __future__ import annotations

from enum import Enum


class Outcome(Enum):
    """The error that the task ends with, and what becomes of it and of the invocation, as the docs say it."""

    REFUSED = "refused by Airflow with a ``TypeError``, as an option of sensors alone"
    CANCELLED = "``AirflowTaskTimeout``, and Airflow retries the task; the invocation is cancelled"
    BROWSER_ENDED = "``AirflowTaskTimeout``, and Airflow retries the task; the browser is ended"
    LEFT = "``AirflowTaskTimeout``, and Airflow retries the task; the invocation goes on"
    SENSOR_TIMEOUT = "``AirflowSensorTimeout``, and the task is not retried; the invocation goes on"
    DEFERRAL_CANCELLED = "``TaskDeferralTimeout``, and Airflow retries the task; the invocation is cancelled"
    KILLED = "the task is killed and stays skipped; the invocation is cancelled"
    KILLED_ALONE = "the task is killed and stays skipped; the invocation goes on"
    KILLED_BROWSER = "the task is killed and stays skipped; the browser is ended"
    KILLED_ANSWER = "the task is killed and stays skipped; the invocation ends as failed"
    KERNEL_RETRIED = (
        "Kernel ends the invocation: ``KernelInvocationFailedError``, and Airflow retries the task with a new one"
    )
    KERNEL_FINAL = "Kernel ends the invocation: ``AirflowFailException``, and the task is not retried"


#: The modes of the parts, as the table names them.
COLUMNS = {
    "invoke_blocking": "Operator on a worker",
    "invoke_deferrable": "Deferrable operator",
    "sensor_poke": "Sensor in poke mode",
    "sensor_reschedule": "Sensor in reschedule mode",
    "sensor_deferrable": "Deferrable sensor",
    "answer": "Answering task",
    "request": "Operators of one request",
    "browser": "Task with a browser",
}

O = Outcome  # noqa: E741 (the table is read as a table)
_NO_DEFERRAL = "cannot occur: the task does not defer"
_NO_INVOCATION = "cannot occur: a browser has no such limit"
_NO_SENSOR_LIMIT = "cannot occur: ``timeout`` is refused"


def _row(*cells: Outcome | str) -> dict[str, Outcome | str]:
    return dict(zip(COLUMNS, cells, strict=True))


def _sensor(poke: Outcome, reschedule: Outcome, deferrable: Outcome) -> dict[str, Outcome | str]:
    return _row(*(_NO_SENSOR_LIMIT,) * 2, poke, reschedule, deferrable, *(_NO_SENSOR_LIMIT,) * 3)


#: By limit, and by column: the outcome, or why the cell cannot occur. A task has a retry left.
OUTCOMES: dict[str, dict[str, Outcome | str]] = {
    "timeout": _row(O.REFUSED, O.REFUSED, *(O.SENSOR_TIMEOUT,) * 3, *(O.REFUSED,) * 3),
    "execution_timeout": _row(*(O.CANCELLED,) * 2, *(O.LEFT,) * 5, O.BROWSER_ENDED),
    "timeout before execution_timeout": _sensor(*(O.SENSOR_TIMEOUT,) * 3),
    "execution_timeout before timeout": _sensor(*(O.LEFT,) * 3),
    "timeout and execution_timeout at once": _sensor(O.LEFT, O.SENSOR_TIMEOUT, O.LEFT),
    "async_timeout_seconds": _row(*(O.KERNEL_RETRIED,) * 2, *(O.KERNEL_FINAL,) * 5, _NO_INVOCATION),
    "async_timeout_seconds before execution_timeout": _row(
        *(O.KERNEL_RETRIED,) * 2, *(O.KERNEL_FINAL,) * 5, _NO_INVOCATION
    ),
    "timeout of Airflow's defer()": _row(
        *(_NO_DEFERRAL, O.DEFERRAL_CANCELLED), *(_NO_DEFERRAL,) * 2, O.SENSOR_TIMEOUT, *(_NO_DEFERRAL,) * 3
    ),
    "dagrun_timeout": _row(
        *(O.KILLED,) * 2, *(O.KILLED_ALONE,) * 3, O.KILLED_ANSWER, O.KILLED_ALONE, O.KILLED_BROWSER
    ),
}
