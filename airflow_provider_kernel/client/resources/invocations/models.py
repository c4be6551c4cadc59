"""
The model of invocations. Those of their browsers are in ``browser_models.py``.

It is lenient: unknown fields are kept, few fields are required, and timestamps stay text (the API writes nine
fraction digits, which ``datetime`` cannot hold).
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from airflow_provider_kernel.client.http.model import ApiModel, JSONText, Name
from airflow_provider_kernel.client.json_encoding import parse_json_leniently
from airflow_provider_kernel.client.resources.invocations.status import FINAL_STATUSES, STATUSES, InvocationStatus
from airflow_provider_kernel.client.timestamps import parse_timestamp

#: How Go writes a time that is not set.
_ZERO_DAY = "0001-01-01"


class Invocation(ApiModel):
    """
    One run of an action.

    ``output`` is the text that the API sent; :meth:`parsed_output` reads it. Neither it nor ``payload`` is part
    of the ``repr``, since both may hold sensitive data.
    """

    strict_fields: ClassVar[frozenset[str]] = frozenset({"payload", "output"})

    id: Name = Field(min_length=1)
    status: Name
    app_name: str | None = None
    version: str | None = None
    action_name: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    status_reason: str | None = None
    payload: JSONText | None = Field(default=None, repr=False)
    output: JSONText | None = Field(default=None, repr=False)

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
