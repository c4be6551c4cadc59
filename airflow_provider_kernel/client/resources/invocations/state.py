"""What the fields of an invocation say. Without Pydantic: a task that resumes may need no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_kernel.client.json_encoding import parse_json_leniently
from airflow_provider_kernel.client.resources.invocations.status import FINAL_STATUSES, STATUSES, InvocationStatus
from airflow_provider_kernel.client.timestamps import parse_timestamp

#: How Go writes a time that is not set.
_ZERO_DAY = "0001-01-01"


class InvocationState:
    """The state of one run of an action, and its result once it has ended."""

    if TYPE_CHECKING:  # Pydantic would take them for fields
        id: str
        status: str
        app_name: str | None
        version: str | None
        action_name: str | None
        started_at: str | None
        finished_at: str | None
        status_reason: str | None
        output: str | None

    @property
    def is_final(self) -> bool:
        """Whether it has ended. With an unknown status, it has if the API says when."""
        if self.status in STATUSES:
            return self.status in FINAL_STATUSES
        return bool(self.finished_at) and not str(self.finished_at).startswith(_ZERO_DAY)

    @property
    def has_failed(self) -> bool:
        """Whether it has ended, and not as ``succeeded``: what ended with an unknown status counts as failed."""
        return self.is_final and self.status != InvocationStatus.SUCCEEDED

    @property
    def status_phrase(self) -> str:
        """The status as the end of a sentence: "is running", "has succeeded"."""
        if self.is_final and self.status not in STATUSES:
            return f"has ended as {self.status}"
        return f"{'has' if self.is_final else 'is'} {self.status}"

    @property
    def seconds(self) -> float | None:
        """How long it took, in seconds; ``None`` while it runs or when the API's times cannot be read."""
        started, finished = parse_timestamp(self.started_at), parse_timestamp(self.finished_at)
        return (finished - started).total_seconds() if started and finished else None

    def parsed_output(self) -> Any:
        """Read ``output``: the JSON value, the text itself when it is not JSON, ``None`` when there is none."""
        return None if self.output is None else parse_json_leniently(self.output)
