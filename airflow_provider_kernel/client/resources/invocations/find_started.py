"""
Finding an invocation whose start got no usable answer.

Kernel has no idempotency key, so the invocation is searched in the list: it started after the request was sent, and
its payload has the same bytes. A token in the payload, where the user allows one, makes the match exact.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from airflow_provider_kernel.client.errors import KernelAmbiguousStartError
from airflow_provider_kernel.client.flow import Flow, Pages, Sleep
from airflow_provider_kernel.client.http.pagination import UnreadableRow
from airflow_provider_kernel.client.http.request import Request, is_same_name
from airflow_provider_kernel.client.resources.invocations import requests
from airflow_provider_kernel.client.resources.invocations.models import Invocation
from airflow_provider_kernel.client.timestamps import parse_timestamp

#: How long after its start an invocation may be missing in the list.
LOOKUP_SECONDS = 10.0
_POLL_SECONDS = 1.0
#: Max difference between the clocks of this machine and the server, if the server sends no ``Date``.
_CLOCK_SKEW = timedelta(minutes=5)
#: Max error of ``Date``: it counts whole seconds, and travels for some time.
_CLOCK_TOLERANCE = timedelta(seconds=3)


class StartCriteria(NamedTuple):
    """
    What was requested to start, as far as the list of invocations shows it.

    :param version: the version label; ``latest`` matches any.
    :param payload: the payload as it was sent; ``None`` when none was.
    :param correlation: the key of the mark in the payload, and the token in it, when the user allows a mark.
    """

    app_name: str
    action_name: str
    version: str
    payload: str | None = None
    correlation: tuple[str, str] | None = None

    def __repr__(self) -> str:
        # The payload may hold anything.
        return f"{type(self).__name__}({self.app_name!r}, {self.action_name!r}, {self.version!r})"

    @classmethod
    def by(cls, request: Request[Invocation], correlation: tuple[str, str] | None = None) -> StartCriteria:
        """Read them from what ``create_invocation`` built."""
        body: dict[str, Any] = json.loads(request.body or b"{}")
        return cls(
            body["app_name"], body["action_name"], body["version"], body.get("payload"), correlation=correlation
        )

    def matches(self, invocation: Invocation) -> bool:
        """
        Return whether a listed invocation may be the one that was started.

        The list is filtered by app and action. A name or version that it does not show excludes nothing.
        """
        for found, wanted in ((invocation.app_name, self.app_name), (invocation.action_name, self.action_name)):
            if found is not None and not is_same_name(found, wanted):
                return False
        if self.correlation is not None:
            return self.correlation[1] == correlation_token(invocation, self.correlation[0])
        if self.version != "latest" and invocation.version not in (None, self.version):
            return False
        return (invocation.payload or None) == (self.payload or None)

    def may_match(self, row: UnreadableRow) -> bool:
        """Return whether a row that cannot be read may be what was started; not if it has another mark."""
        payload = row.document.get("payload") if isinstance(row.document, dict) else None
        if self.correlation is None or not isinstance(payload, str):
            return True
        return self.correlation[1] == _token(payload, self.correlation[0])


def correlation_mark(invocation: Invocation, key: str) -> dict[str, Any] | None:
    """Read the mark under a key of an invocation's payload; ``None`` when there is none."""
    return _mark(invocation.payload, key)


def correlation_token(invocation: Invocation, key: str) -> str | None:
    return _token(invocation.payload, key)


def _mark(payload_text: str | None, key: str) -> dict[str, Any] | None:
    try:
        payload = json.loads(payload_text or "null")
    except (ValueError, RecursionError):
        return None
    mark = payload.get(key) if isinstance(payload, dict) else None
    return mark if isinstance(mark, dict) else None


def _token(payload_text: str | None, key: str) -> str | None:
    token = (_mark(payload_text, key) or {}).get("token")
    return token if isinstance(token, str) else None


def find_started(
    criteria: StartCriteria,
    *,
    since: datetime,
    now: datetime,
    excluded: frozenset[str] = frozenset(),
    patience: float = LOOKUP_SECONDS,
) -> Flow[list[Invocation]]:
    """
    Look for what a request may have started.

    :param since: when the request was about to be sent, by this machine's clock.
    :param now: the present by the same clock.
    :param excluded: ids of invocations that are known to belong to others.
    :param patience: for how many seconds to repeat the search while none is found.
    :return: the invocations that match; none when the request started nothing.
    :raises KernelAmbiguousStartError: when rows of the list that cannot be read may be what was started.
    """
    first = requests.list_invocations(
        app_name=criteria.app_name, action_name=criteria.action_name, since=since - _CLOCK_SKEW
    )
    waited = 0.0
    while True:
        found: list[Invocation] = []
        unreadable: list[UnreadableRow] = []
        pages = Pages(first)
        while (page := (yield from pages.fetch())) is not None:
            earliest = _by_the_servers_clock(since, now + timedelta(seconds=waited), page.server_time)
            found += [i for i in page.items if criteria.matches(i) and _started_from(i.started_at, earliest)]
            unreadable += [
                row
                for row in page.unreadable
                if _value(row, "id") not in excluded
                and _started_from(_value(row, "started_at"), earliest)
                and criteria.may_match(row)
            ]
        # Rows shift between pages while they are read, so one may appear twice.
        found = list({i.id: i for i in found if i.id not in excluded}.values())
        # A mark is of one start only; equal bytes are not.
        is_conclusive = not unreadable or (bool(found) and criteria.correlation is not None)
        if is_conclusive and (found or waited >= patience):
            return found
        if waited >= patience:
            raise KernelAmbiguousStartError(
                f"{len(unreadable)} rows of the list of invocations cannot be read ({unreadable[0].problem}), and "
                "may be what was started"
            )
        yield Sleep(_POLL_SECONDS)
        waited += _POLL_SECONDS


def single_match(found: list[Invocation]) -> Invocation | None:
    """Return the one invocation that :func:`find_started` found, if any; several are an error that names them."""
    if len(found) > 1:
        names = ", ".join(f"{i.id} ({i.status})" for i in found)
        raise KernelAmbiguousStartError(
            f"The answer to a start was lost, and it may have started any of {names}. "
            "Set correlation_key=, so that they can be distinguished"
        )
    return found[0] if found else None


def _by_the_servers_clock(since: datetime, now: datetime, server_now: datetime | None) -> datetime:
    if server_now is None:
        return since - _CLOCK_SKEW
    return since + (server_now - now) - _CLOCK_TOLERANCE


def _value(row: UnreadableRow, name: str) -> str | None:
    value = row.document.get(name) if isinstance(row.document, dict) else None
    return value if isinstance(value, str) else None


def _started_from(started_at: str | None, earliest: datetime) -> bool:
    started = parse_timestamp(started_at)
    return started is None or started >= earliest
