"""What tests see of a browser."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

EndCause = Literal["deleted", "idle", "invocation"]


@dataclass(frozen=True)
class BrowserRecord:
    """
    A snapshot of a browser session.

    :param session_id: its ID.
    :param project_id: the project it belongs to.
    :param name: its name; one that has ended keeps it here.
    :param tags: its tags.
    :param options: the body of the request that made it.
    :param timeout_seconds: its idle limit, in emulated seconds.
    :param created_at: RFC 3339.
    :param ended_at: RFC 3339, or None.
    :param end_cause: `deleted`, `idle`, or `invocation` if its invocation ended or deleted it; None while it is
        active.
    :param clients: how many connections and calls use it now.
    :param connections: how many DevTools connections were made to it so far.
    :param awake: whether it is used, or was less than 5 emulated seconds ago.
    :param uptime_ms: for how long it was awake, in emulated milliseconds.
    :param profile_saved: whether its end saved its profile.
    :param chromium_pid: the process of its Chromium on this host, while it runs.
    :param folder: where the files of its machine are on this host; None before the first use, and after the end.
    :param token: the secret of its addresses, that follows `jwt=`.
    :param opened: position of its start in the order of all starts and ends.
    :param closed: position of its end in that order, or None.
    """

    session_id: str
    project_id: str
    name: str | None
    tags: Mapping[str, str]
    options: Mapping[str, Any]
    timeout_seconds: int
    created_at: str
    ended_at: str | None
    end_cause: EndCause | None
    clients: int
    connections: int
    awake: bool
    uptime_ms: int
    profile_saved: bool
    chromium_pid: int | None
    folder: Path | None
    token: str = field(repr=False)
    opened: int
    closed: int | None

    @property
    def is_active(self) -> bool:
        """Whether it has not ended."""
        return self.ended_at is None


def most_browsers_at_once(records: Iterable[BrowserRecord]) -> int:
    """Return the largest number of these that were active at the same time."""
    steps = []
    for record in records:
        steps.append((record.opened, 1))
        if record.closed is not None:
            steps.append((record.closed, -1))
    return max(itertools.accumulate((change for _, change in sorted(steps)), initial=0))
