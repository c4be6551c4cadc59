"""What tests see of an invocation."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

STATUSES = ("queued", "running", "succeeded", "failed")
FINAL = ("succeeded", "failed")


@dataclass(frozen=True)
class InvocationRecord:
    """
    A snapshot of an invocation.

    :param id: invocation ID.
    :param project_id: the project it belongs to.
    :param app_name: the app.
    :param version: the version label of the request.
    :param action_name: the action.
    :param deployment_id: the deployment it runs on.
    :param payload: the payload of the request, a string of JSON.
    :param async_timeout_seconds: max run time in emulated seconds.
    :param status: the current status.
    :param statuses: every status it has had, in order.
    :param status_reason: only if it failed.
    :param output: the output as the API shows it.
    :param started_at: RFC 3339.
    :param finished_at: RFC 3339, or None.
    :param browsers: number of open browsers.
    :param browsers_opened: number of browsers opened so far.
    :param logs: its log lines.
    :param opened: position of its start in the order of all starts and ends.
    :param closed: position of its end in that order, or None.
    """

    id: str
    project_id: str
    app_name: str
    version: str
    action_name: str
    deployment_id: str
    payload: str | None
    async_timeout_seconds: int
    status: str
    statuses: tuple[str, ...]
    status_reason: str | None
    output: str | None
    started_at: str
    finished_at: str | None
    browsers: int
    browsers_opened: int
    logs: tuple[str, ...]
    opened: int
    closed: int | None

    @property
    def finished(self) -> bool:
        """Whether its status is final."""
        return self.status in FINAL

    @property
    def payload_json(self) -> Any:
        """The payload, parsed; None without a payload."""
        return json.loads(self.payload) if self.payload else None

    @property
    def output_json(self) -> Any:
        """The output, parsed; None without an output."""
        return json.loads(self.output) if self.output else None


def most_active_at_once(records: Sequence[InvocationRecord]) -> int:
    """Return the largest number of these that were queued or running at the same time."""
    steps = [(record.opened, 1) for record in records]
    steps += [(record.closed, -1) for record in records if record.closed is not None]
    return max(itertools.accumulate((change for _, change in sorted(steps)), initial=0))
