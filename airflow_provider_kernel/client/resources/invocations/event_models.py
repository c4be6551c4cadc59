"""The models of the events of an invocation's stream, for those who read one."""

from __future__ import annotations

from typing import ClassVar

from airflow_provider_kernel.client.http.json_body import load_text
from airflow_provider_kernel.client.http.model import ApiModel, JSONText, read_leniently
from airflow_provider_kernel.client.resources.invocations.models import Invocation


class Event(ApiModel):
    """An event of an invocation's stream."""


class LogLine(Event):
    """A line that the action logged, unescaped; it may end in a line break."""

    strict_fields: ClassVar[frozenset[str]] = frozenset({"message"})

    message: JSONText
    timestamp: str | None = None


class StateChange(Event):
    """The invocation's state when the event was sent."""

    invocation: Invocation


class _ErrorBody(ApiModel):
    code: str | None = None
    message: str | None = None


class StreamError(Event):
    """An error event. It does not mean that the invocation has ended."""

    error: _ErrorBody = _ErrorBody()

    def __str__(self) -> str:
        return ": ".join(part for part in (self.error.code, self.error.message) if part) or "unknown"


class Heartbeat(Event):
    """Sent so that the connection is not idle."""


class UnknownEvent(Event):
    """An event of an unknown kind, or one that cannot be read."""


_EVENTS: dict[str, type[Event]] = {
    "log": LogLine,
    "invocation_state": StateChange,
    "error": StreamError,
    "sse_heartbeat": Heartbeat,
}


def parse_event(data: str) -> Event:
    """
    Read one event; :class:`UnknownEvent` for one that is unknown or cannot be read.

    That is no error: the stream only informs, and a GET decides how an invocation ended.
    """
    try:
        document = load_text(data)
        model = _EVENTS[document["event"]]
        # Not model_validate_json, which refuses half a surrogate pair: no line must get lost.
        return read_leniently(model, document)
    except (ValueError, LookupError, TypeError, RecursionError):
        return UnknownEvent()
