"""The states of an invocation, and "not given": what a DAG file needs of the API's values, without their models."""

from __future__ import annotations

from enum import Enum


class InvocationStatus(str, Enum):
    """The states of an invocation; the last two are final. Compare by value: the API may add others."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    def __str__(self) -> str:
        return self.value


FINAL_STATUSES = frozenset({InvocationStatus.SUCCEEDED.value, InvocationStatus.FAILED.value})


class Unset(Enum):
    """The type of :data:`UNSET`."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return "UNSET"

    __str__ = __repr__  # what Airflow shows as the rendered template

    def __bool__(self) -> bool:
        return False


#: "Not given", where ``None`` is a value: ``output=None`` sends ``null``, leaving it out sends nothing.
UNSET = Unset.UNSET
