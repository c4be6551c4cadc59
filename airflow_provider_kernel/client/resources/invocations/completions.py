"""
Noticing which invocations finish, each once, from nothing but Kernel's list.

The list can be narrowed by when an invocation *started*, and one may finish an hour after that. So a poll remembers
which ones are still active, and asks for all that started since the oldest of them. One poll serves many
subscribers, each from its own point in time on (:class:`DeliveryCursor`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_kernel.client.flow import Flow
from airflow_provider_kernel.client.http.pagination import Page, next_page
from airflow_provider_kernel.client.http.request import Request
from airflow_provider_kernel.client.resources.invocations import requests
from airflow_provider_kernel.client.resources.invocations.models import Invocation
from airflow_provider_kernel.client.timestamps import parse_timestamp

#: How long after its start an invocation may finish: Kernel ends it after an hour.
LIFETIME = timedelta(minutes=65)
#: How much later than it says an invocation may be listed as finished; clocks that differ are part of it.
LAG = timedelta(minutes=5)
#: How much later than others that started at the same time an invocation may be listed at all.
_OVERLAP = timedelta(minutes=1)
#: For how long a poll keeps what has finished, for those who join it later.
_KEPT = timedelta(minutes=20)
#: So often an active invocation may be missing in the list before it counts as gone.
_MISSES = 3


@dataclass(frozen=True)
class Finished:
    """
    An invocation that has finished; nothing of what it was given or gave.

    :param id: its id.
    :param status: ``succeeded`` or ``failed``.
    :param finished: when, as far as it is known.
    """

    id: str
    status: str
    finished: datetime
    app_name: str | None
    action_name: str | None
    version: str | None
    started_at: str | None
    finished_at: str | None
    seconds: float | None

    def payload(self) -> dict[str, Any]:
        """Describe it for an event."""
        return {
            "invocation_id": self.id,
            "app_name": self.app_name,
            "action_name": self.action_name,
            "version": self.version,
            "status": self.status,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class Snapshot:
    """
    What one look at the list has shown.

    :param finished: what has finished, the first one first.
    :param complete_from: all that finished after this time is there.
    :param taken: when, by the server's clock if it tells.
    """

    finished: tuple[Finished, ...]
    complete_from: datetime
    taken: datetime


@dataclass
class CompletionPoller:
    """The memory of a poll."""

    _finished: dict[str, Finished] = field(default_factory=dict)
    _active: dict[str, datetime] = field(default_factory=dict)
    _misses: dict[str, int] = field(default_factory=dict)
    _newest_start: datetime | None = None
    _complete_from: datetime | None = None

    def look(self, now: datetime, *, back_to: datetime | None = None) -> Flow[Snapshot]:
        """
        Look at the list once.

        :param now: the present.
        :param back_to: since when all that has finished is wanted, if it is longer ago than usual.
        """
        wanted = min(now - 2 * LAG, back_to or now)
        is_whole = self._complete_from is None or wanted < self._complete_from
        since = wanted - LIFETIME if is_whole else self._oldest_of_interest(now)
        listed: set[str] = set()
        taken = now
        request: Request[Page[Invocation]] | None = requests.list_invocations(since=since)
        while request is not None:
            page = yield from request
            taken = page.server_time or taken
            for invocation in page.items:
                listed.add(invocation.id)
                self._note(invocation, taken)
            request = next_page(request, page)
        self._count_misses(listed)
        if is_whole:
            self._complete_from = wanted
        snapshot = Snapshot(
            tuple(sorted(self._finished.values(), key=lambda finished: finished.finished)),
            self._complete_from or wanted,
            taken,
        )
        self._forget_before(taken - _KEPT)
        return snapshot

    def _oldest_of_interest(self, now: datetime) -> datetime:
        return min([*self._active.values(), self._newest_start or now - LIFETIME]) - _OVERLAP

    def _note(self, invocation: Invocation, taken: datetime) -> None:
        started = parse_timestamp(invocation.started_at)
        if started is not None:
            self._newest_start = max(started, self._newest_start or started)
        if not invocation.is_final:
            self._active[invocation.id] = started or self._active.get(invocation.id, taken)
            return
        self._active.pop(invocation.id, None)
        self._finished.setdefault(
            invocation.id,
            Finished(
                id=invocation.id,
                status=invocation.status,
                finished=parse_timestamp(invocation.finished_at) or taken,
                app_name=invocation.app_name,
                action_name=invocation.action_name,
                version=invocation.version,
                started_at=invocation.started_at,
                finished_at=invocation.finished_at,
                seconds=invocation.seconds,
            ),
        )

    def _count_misses(self, listed: set[str]) -> None:
        for invocation_id in list(self._active):
            misses = 0 if invocation_id in listed else self._misses.get(invocation_id, 0) + 1
            self._misses[invocation_id] = misses
            if misses >= _MISSES:
                del self._active[invocation_id]
        self._misses = {i: misses for i, misses in self._misses.items() if i in self._active}

    def _forget_before(self, time: datetime) -> None:
        if self._complete_from is not None and time > self._complete_from:
            self._complete_from = time
            self._finished = {i: finished for i, finished in self._finished.items() if finished.finished >= time}


@dataclass(frozen=True)
class DeliveryCursor:
    """
    What somebody has been told.

    :param after: all that finished up to this time.
    :param ids: and of what finished later, these.
    """

    after: datetime
    ids: frozenset[str]

    @classmethod
    def begin(cls, snapshot: Snapshot) -> DeliveryCursor:
        """
        Begin to listen: what has finished before is no news.

        :param snapshot: the first look.
        """
        after = snapshot.taken - LAG
        return cls(after, frozenset(finished.id for finished in snapshot.finished if finished.finished > after))

    @classmethod
    def from_json(cls, document: Any) -> DeliveryCursor | None:
        """
        Read what :meth:`to_json` wrote.

        :param document: that; anything else gives ``None``.
        """
        if not isinstance(document, Mapping):
            return None
        after, ids = parse_timestamp(str(document.get("after"))), document.get("told")
        return cls(after, frozenset(map(str, ids))) if after and isinstance(ids, list) else None

    def to_json(self) -> dict[str, Any]:
        """Write it as JSON values."""
        return {"after": self.after.isoformat(), "told": sorted(self.ids)}

    def misses_some_of(self, snapshot: Snapshot) -> bool:
        """
        Say whether a look did not reach back far enough.

        :param snapshot: the look.
        """
        return snapshot.complete_from > self.after

    def news(self, snapshot: Snapshot, wanted: Callable[[Finished], bool]) -> tuple[list[Finished], DeliveryCursor]:
        """
        Take from a look what has not been told.

        :param snapshot: the look.
        :param wanted: what is of interest at all.
        :return: the news, and what will have been told after them.
        """
        later = [finished for finished in snapshot.finished if finished.finished > self.after and wanted(finished)]
        after = max(self.after, snapshot.taken - LAG)
        known = frozenset(finished.id for finished in later if finished.finished > after)
        # Of what finished later than this look was taken, by whatever clock, nothing may be forgotten either.
        return [finished for finished in later if finished.id not in self.ids], DeliveryCursor(after, known)
