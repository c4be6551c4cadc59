"""
What the Kernel API answers with, as models.

They take an answer as it comes: unknown fields are kept, an unknown status is just not final, and timestamps
stay the text that they were (the API writes nine fraction digits, which ``datetime`` cannot hold). Only what
nothing can be done without is required.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from airflow_provider_kernel.api.status import FINAL_STATUSES as FINAL_STATUSES
from airflow_provider_kernel.api.status import UNSET as UNSET
from airflow_provider_kernel.api.status import InvocationStatus as InvocationStatus
from airflow_provider_kernel.api.status import Unset as Unset

ItemT = TypeVar("ItemT")

_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|z|[+-]\d\d:\d\d)")


def parse_timestamp(text: str | None) -> datetime | None:
    """
    Read one of the API's timestamps, cut to microseconds.

    :param text: an RFC 3339 time with any number of fraction digits, or ``None``.
    :return: the time with its zone, or ``None`` for ``None`` and for text that is no RFC 3339 time: the API's
        own examples are not, and a time is never worth failing a task for.
    """
    if text is None or (match := _TIMESTAMP.fullmatch(text)) is None:
        return None
    day, clock, fraction, zone = match.groups()
    try:
        when = datetime.fromisoformat(
            f"{day}T{clock}.{(fraction or '').ljust(6, '0')[:6]}{'+00:00' if zone in 'Zz' else zone}"
        )
    except ValueError:
        return None
    return usable_time(when)


def usable_time(when: datetime) -> datetime | None:
    """
    Refuse a time that nothing could be added to or taken from.

    :param when: a time with its zone.
    :return: it in UTC; ``None`` when it is close to either end of the calendar.
    """
    return when.astimezone(timezone.utc) if 1000 < when.year < 9000 else None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is larger than a float can be")
    return number


def parse_json_leniently(text: str) -> Any:
    """
    Read an output.

    :param text: JSON of any type, or plain text, which failures often are.
    :return: the value, or the text itself when it is not JSON, or JSON that Python cannot hold.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite_float)
    except (ValueError, RecursionError):
        return text


def _as_json_text(value: Any) -> Any:
    # The API documents a JSON string. Were it ever to answer with the value itself, nothing must get lost.
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


JSONText = Annotated[str, BeforeValidator(_as_json_text)]


def _check_name(value: str) -> str:
    # It stands in messages and log lines, and an id in paths too.
    if len(value) > _NAME_LIMIT or not value.isprintable():
        raise ValueError(f"takes printable text of at most {_NAME_LIMIT} characters")
    return value


_NAME_LIMIT = 200
_Name = Annotated[str, AfterValidator(_check_name)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    def __repr_args__(self) -> Any:
        # Extra fields may hold anything; show only the declared ones that are meant to be shown.
        fields = type(self).model_fields
        return [(name, value) for name, value in super().__repr_args__() if name in fields]


class Invocation(_Model):
    """
    One run of an action.

    ``output`` is the text that the API sent; :meth:`parsed_output` reads it. Neither it nor ``payload`` is part
    of the ``repr``, since both may hold sensitive data.
    """

    id: _Name = Field(min_length=1)
    status: _Name
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
        """Whether it is over. A status that nobody here knows is not final."""
        return self.status in FINAL_STATUSES

    @property
    def standing(self) -> str:
        """The status as the end of a sentence: "is running", "has succeeded"."""
        return f"{'has' if self.is_final else 'is'} {self.status}"

    @property
    def seconds(self) -> float | None:
        """How long it took, in seconds; ``None`` while it runs or when the API's times cannot be read."""
        started, finished = parse_timestamp(self.started_at), parse_timestamp(self.finished_at)
        return (finished - started).total_seconds() if started and finished else None

    def parsed_output(self) -> Any:
        """Read ``output``: the JSON value, the text itself when it is not JSON, ``None`` when there is none."""
        return None if self.output is None else parse_json_leniently(self.output)


class Browser(_Model):
    """A browser session of an invocation. The URLs carry access tokens: they are kept out of the ``repr``."""

    session_id: str = Field(min_length=1)
    name: str | None = None
    created_at: str | None = None
    headless: bool | None = None
    stealth: bool | None = None
    timeout_seconds: int | None = None
    cdp_ws_url: str | None = Field(default=None, repr=False)
    webdriver_ws_url: str | None = Field(default=None, repr=False)
    browser_live_view_url: str | None = Field(default=None, repr=False)


class BrowserList(_Model):
    """The body of ``GET /invocations/{id}/browsers``."""

    browsers: list[Browser]


class AppAction(_Model):
    """An action that an app offers, with the JSON schemas of its payload and result where known."""

    name: str
    input_schema: dict[str, Any] | None = None
    output_schema: dict[str, Any] | None = None


class AppVersion(_Model):
    """One deployed version of an app."""

    id: str
    app_name: str
    version: str
    region: str | None = None
    deployment: str | None = None
    actions: list[AppAction] = []


class AuthScope(_Model):
    """Where a credential acts; ``project_id`` is ``None`` for the whole organization."""

    project_id: str | None = None


class _Authorization(_Model):
    credential_scope: AuthScope = AuthScope()
    effective_scope: AuthScope = AuthScope()


class _Organization(_Model):
    id: str


class AuthContext(_Model):
    """Who the key is and where it acts: the answer of ``GET /auth/context``."""

    organization: _Organization
    authorization: _Authorization = _Authorization()

    @property
    def project_id(self) -> str | None:
        """The project that requests act in; ``None`` for the organization's default."""
        return self.authorization.effective_scope.project_id


class Event(_Model):
    """Something that the event stream of an invocation tells."""


class LogLine(Event):
    """
    A line that the action logged.

    :param message: the line, which may end in a line break, and which nobody has made harmless yet.
    :param timestamp: when, as the API wrote it.
    """

    message: str
    timestamp: str | None = None


class StateChange(Event):
    """The invocation as it stood when the event was sent."""

    invocation: Invocation


class _ErrorBody(_Model):
    code: str | None = None
    message: str | None = None


class StreamError(Event):
    """An error told inside the stream. It does not say that the invocation has ended."""

    error: _ErrorBody

    def __str__(self) -> str:
        return ": ".join(part for part in (self.error.code, self.error.message) if part) or "unknown"


class Heartbeat(Event):
    """Sent now and then so that the connection is not idle."""


class UnknownEvent(Event):
    """An event of a kind that nobody here knows, or one that cannot be read."""


@dataclass(frozen=True)
class Page(Generic[ItemT]):
    """
    One page of a list.

    :param items: what is on it, in the API's order.
    :param next_offset: where the next page starts; ``None`` on the last one.
    :param server_time: when the server answered, by its own clock, as far as it says so: to the second.
    """

    items: tuple[ItemT, ...]
    next_offset: int | None
    server_time: datetime | None = None
