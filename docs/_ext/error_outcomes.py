"""
What each error of a request becomes, by what the request is for.

The page about errors shows this table, and ``tests/unit/test_error_outcomes.py`` plays each cell. Imports nothing.
"""

from __future__ import annotations

from enum import Enum


class Outcome(Enum):
    """What follows the error; the value is what the documentation says."""

    AT_ONCE = "the task fails at once"
    RETRIED = "the task fails; Airflow retries it"
    AGAIN = "is sent again"
    LOOKED_UP = "is looked up, and started if it is not there"
    POLLED = "is polled again, until the deadline"
    REFUSED = "is polled again; after five minutes the task fails, and ends nothing"
    GRACE = "is polled again, until the deadline if it was seen before, else for 30 s"
    ENDED = "is sent again, until the time of the end is over"
    GONE = "is done: there is nothing to end"
    REOPENED = "is opened again"
    LINES_LOST = "the lines are missing; the task goes on"
    WATCHED = "is polled again, for ever"


COLUMNS = {
    "start": "Start",
    "poll": "Poll of the operator",
    "end": "End",
    "list": "List (sweep)",
    "stream": "Log stream",
    "first_poke": "Sensor, first poll",
    "poke": "Sensor, later",
    "trigger": "Trigger",
    "watcher": "Asset watcher",
}

_ID_IS_KERNELS = "cannot occur: the id came from Kernel"
_READ_BEFORE = "cannot occur: the connection was read before"


def _row(*cells: Outcome | str) -> dict[str, Outcome | str]:
    return dict(zip(COLUMNS, cells, strict=True))


O = Outcome  # noqa: E741 (the table is read as a table)
#: By error class and column: the outcome, or why the cell cannot occur.
OUTCOMES: dict[str, dict[str, Outcome | str]] = {
    "KernelConfigurationError": _row(
        *(O.AT_ONCE, _READ_BEFORE, _READ_BEFORE, O.AT_ONCE, _READ_BEFORE, O.AT_ONCE),
        *("cannot occur: it is read once; a rescheduled sensor takes it as a 401", O.REFUSED, O.WATCHED),
    ),
    "KernelConfigurationUnavailableError": _row(
        *(O.RETRIED, _READ_BEFORE, _READ_BEFORE, O.RETRIED, _READ_BEFORE, O.POLLED),
        *("cannot occur: it is read once; a rescheduled sensor takes it as a 401", O.REFUSED, O.WATCHED),
    ),
    "KernelInputError": _row(
        *(O.AT_ONCE, _ID_IS_KERNELS, _ID_IS_KERNELS, O.AT_ONCE, _ID_IS_KERNELS, O.AT_ONCE),
        *("cannot occur: the first poll refuses the id",) * 2,
        "cannot occur: its arguments are checked when it is made",
    ),
    "KernelConnectionError": _row(
        *(O.LOOKED_UP, O.POLLED, O.ENDED, O.AGAIN, O.REOPENED, O.POLLED, O.POLLED, O.POLLED, O.WATCHED)
    ),
    "KernelTimeoutError": _row(
        *(O.LOOKED_UP, O.POLLED, O.ENDED, O.AGAIN, O.REOPENED, O.POLLED, O.POLLED, O.POLLED, O.WATCHED)
    ),
    "KernelResponseError": _row(
        *(O.LOOKED_UP, O.POLLED, O.ENDED, O.RETRIED, O.REOPENED, O.POLLED, O.POLLED, O.POLLED, O.WATCHED)
    ),
    "KernelBadRequestError": _row(
        *(O.AT_ONCE, O.POLLED, O.ENDED, O.AT_ONCE, O.LINES_LOST, O.AT_ONCE, O.POLLED, O.POLLED, O.WATCHED)
    ),
    "KernelAuthenticationError": _row(
        *(O.AT_ONCE, O.REFUSED, O.ENDED, O.AT_ONCE, O.REOPENED, O.AT_ONCE, O.REFUSED, O.REFUSED, O.WATCHED)
    ),
    "KernelPermissionError": _row(
        *(O.AT_ONCE, O.REFUSED, O.ENDED, O.AT_ONCE, O.REOPENED, O.AT_ONCE, O.REFUSED, O.REFUSED, O.WATCHED)
    ),
    "KernelNotFoundError": _row(
        *(O.AT_ONCE, O.GRACE, O.GONE, O.AT_ONCE, O.REOPENED, O.AT_ONCE, O.POLLED, O.GRACE, O.WATCHED)
    ),
    "KernelConflictError": _row(
        *(O.AT_ONCE, O.POLLED, O.ENDED, O.AT_ONCE, O.LINES_LOST, O.AT_ONCE, O.POLLED, O.POLLED, O.WATCHED)
    ),
    "KernelRateLimitError": _row(
        *(O.AGAIN, O.POLLED, O.ENDED, O.AGAIN, O.REOPENED, O.POLLED, O.POLLED, O.POLLED, O.WATCHED)
    ),
    "KernelServerError": _row(
        *(O.LOOKED_UP, O.POLLED, O.ENDED, O.AGAIN, O.REOPENED, O.POLLED, O.POLLED, O.POLLED, O.WATCHED)
    ),
    "KernelAPIError": _row(
        *(O.RETRIED, O.POLLED, O.ENDED, O.RETRIED, O.REOPENED, O.POLLED, O.POLLED, O.POLLED, O.WATCHED)
    ),
}

#: The errors that have the outcomes of their base class, once smaller pages of a list have not helped.
SAME_AS = {
    "KernelResponseTooLargeError": "KernelResponseError",
    "KernelRowTooLargeError": "KernelResponseError",
}

#: The errors that no request raises, and where they come from.
NOT_OF_A_REQUEST = {
    "KernelError": "the base of all; by itself, only of a resumed task that does not know its invocation",
    "KernelTaskKilledError": "of a kill",
    "KernelLostContactError": "what a wait ends with after one of the errors above",
    "KernelAmbiguousStartError": "what a start ends with after one of the errors above",
}
