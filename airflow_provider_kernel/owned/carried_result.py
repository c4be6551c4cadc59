"""
The result of an invocation in the event of the trigger that waited for it.

With it, the process that resumes the task needs no client and sends no request. Until then the event is a part of
the task's row in Airflow's database, so that only a small output is carried, and only one that the task puts into
that database, too: not that of an invocation that has failed, nor one that repeats an API key. That process would
not know what to mask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_kernel.client.redaction import mask
from airflow_provider_kernel.client.resources.invocations.state import InvocationState
from airflow_provider_kernel.client.resources.invocations.status import InvocationStatus
from airflow_provider_kernel.client.validation import is_unicode

#: The largest result to carry, in bytes of UTF-8.
MAX_CARRIED_BYTES = 16_384
#: All but the payload.
_FIELDS = (
    "id",
    "status",
    "app_name",
    "version",
    "action_name",
    "started_at",
    "finished_at",
    "status_reason",
    "output",
)


class CarriedResult(InvocationState):
    """
    The result that an event carries.

    :param fields: the fields of the invocation by name; those that are not there are ``None``.
    """

    def __init__(self, fields: Mapping[str, str]) -> None:
        for name in _FIELDS:
            setattr(self, name, fields.get(name))


def carried_bytes(task: Any) -> int:
    """
    Return how large a result the event may carry; 0 for none. For a process of a task.

    :param task: what waits, with ``do_xcom_push`` and ``max_output_bytes``.
    """
    from airflow.sdk.bases.xcom import BaseXCom
    from airflow.sdk.execution_time.xcom import XCom

    # A custom XCom backend may be there to keep outputs out of the database.
    return min(MAX_CARRIED_BYTES, task.max_output_bytes) if task.do_xcom_push and XCom is BaseXCom else 0


def carry(invocation: InvocationState, *, max_bytes: int) -> dict[str, str] | None:
    """
    Write a result for the event.

    :param invocation: from a GET, with its output.
    :param max_bytes: the largest result to carry.
    :return: ``None`` for one that has not succeeded, is too large, repeats a key, or holds what a database refuses.
    """
    texts = {name: value for name in _FIELDS if (value := getattr(invocation, name)) is not None}
    if invocation.status != InvocationStatus.SUCCEEDED or any(not _is_harmless(text) for text in texts.values()):
        return None
    return texts if sum(len(value.encode()) for value in texts.values()) <= max_bytes else None


def _is_harmless(text: str) -> bool:
    return "\0" not in text and is_unicode(text) and mask(text) == text


def read_carried(event: Mapping[str, Any] | None) -> CarriedResult | None:
    """Read the result that an event carries; ``None`` where it carries none, or none that can be used."""
    event = event or {}
    carried = event.get("invocation")
    # That of another version of this package may be anything.
    if not isinstance(carried, dict) or not all(isinstance(value, str) for value in carried.values()):
        return None
    result = CarriedResult(carried)
    is_its_own = "id" in carried and result.id == event.get("invocation_id")
    return result if is_its_own and result.status == InvocationStatus.SUCCEEDED else None
