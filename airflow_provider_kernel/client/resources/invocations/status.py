"""The states of an invocation. Imports next to nothing, so that a DAG file may use them."""

from __future__ import annotations

from enum import Enum
from typing import Any

from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.client.sanitize import short_repr


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


def check_final_status(name: str, value: Any) -> str:
    """Refuse a status that an invocation cannot be set to, and return it as text."""
    wanted = str(value) if isinstance(value, str) else ""
    if wanted not in FINAL_STATUSES:
        raise KernelInputError(
            f"{name} is {short_repr(value)}; an invocation can be set to 'succeeded' or 'failed' only"
        )
    return wanted
