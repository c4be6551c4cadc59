"""An invocation while the emulator holds it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_kernel.testing.clock import format_time
from airflow_provider_kernel.testing.resources.invocations.record import FINAL, InvocationRecord
from airflow_provider_kernel.testing.signals import Stop

if TYPE_CHECKING:
    from airflow_provider_kernel.testing.resources.apps import AppVersion


@dataclass(frozen=True)
class StreamEvent:
    """
    An event of an invocation's stream: a log line or a change of state.

    :param at: nanoseconds since 1970.
    :param message: the log line.
    :param invocation: the `Invocation` after the change of state.
    """

    at: int
    message: str | None = None
    invocation: dict[str, Any] | None = None

    @property
    def final(self) -> bool:
        """Whether it is the end of the run."""
        return self.invocation is not None and self.invocation["finished_at"] is not None

    def json(self) -> dict[str, Any]:
        """Return the event's data."""
        if self.invocation is None:
            return {"event": "log", "message": self.message, "timestamp": format_time(self.at)}
        return {
            "event": "invocation_state",
            "invocation": self.invocation,
            "timestamp": format_time(self.at),
        }


@dataclass(eq=False)
class Run:
    """An invocation. The backend's signal guards everything that changes."""

    id: str
    project_id: str
    app: AppVersion
    action_name: str
    version: str
    payload: str | None
    async_timeout_seconds: int
    started: int
    opened: int
    status: str = "queued"
    statuses: list[str] = field(default_factory=lambda: ["queued"])
    status_reason: str | None = None
    output: str | None = None
    finished_at: int | None = None
    closed: int | None = None
    events: list[StreamEvent] = field(default_factory=list)
    browsers: list[dict[str, Any]] = field(default_factory=list)
    browsers_opened: int = 0
    stop: Stop = field(default_factory=Stop)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def finished(self) -> bool:
        """Whether the status is final."""
        return self.status in FINAL

    def json(self) -> dict[str, Any]:
        """Return the `Invocation`."""
        body: dict[str, Any] = {
            "id": self.id,
            "app_name": self.app.app_name,
            "version": self.version,
            "action_name": self.action_name,
            "status": self.status,
            "started_at": format_time(self.started),
            "finished_at": None if self.finished_at is None else format_time(self.finished_at),
        }
        for name in ("payload", "output", "status_reason"):
            value = getattr(self, name)
            if value is not None:
                body[name] = value
        return body

    def record(self) -> InvocationRecord:
        """Return a snapshot."""
        return InvocationRecord(
            id=self.id,
            project_id=self.project_id,
            app_name=self.app.app_name,
            version=self.app.version,
            action_name=self.action_name,
            deployment_id=self.app.deployment_id,
            payload=self.payload,
            async_timeout_seconds=self.async_timeout_seconds,
            status=self.status,
            statuses=tuple(self.statuses),
            status_reason=self.status_reason,
            output=self.output,
            started_at=format_time(self.started),
            finished_at=None if self.finished_at is None else format_time(self.finished_at),
            browsers=len(self.browsers),
            browsers_opened=self.browsers_opened,
            logs=tuple(event.message for event in self.events if event.message is not None),
            opened=self.opened,
            closed=self.closed,
        )
