"""The states of an invocation. Imports nothing, so that a DAG file may use them."""

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


STATUSES = frozenset(status.value for status in InvocationStatus)
FINAL_STATUSES = frozenset({InvocationStatus.SUCCEEDED.value, InvocationStatus.FAILED.value})
