"""
Find out which invocations finish, each once, from Kernel's list alone.

The list can be narrowed by when an invocation *started*, and it may finish up to an hour later. So a poller
remembers which invocations are active, and lists all that started since the oldest of them. One poller serves many
subscribers, each from its own point in time on (:class:`DeliveryCursor`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from airflow_provider_kernel.client.flow import Flow, Pages
from airflow_provider_kernel.client.resources.invocations import requests
from airflow_provider_kernel.client.resources.invocations.models import Invocation
from airflow_provider_kernel.client.resources.invocations.status import InvocationStatus
from airflow_provider_kernel.client.resources.invocations.time_limits import LONGEST_LIFE_SECONDS
from airflow_provider_kernel.client.timestamps import parse_timestamp

#: How long after its start an invocation may finish.
LIFETIME = timedelta(seconds=LONGEST_LIFE_SECONDS)
#: Max delay between ``finished_at`` and the invocation appearing as finished, clock skew included.
LAG = timedelta(minutes=5)
#: Max delay between the starts of two invocations and the second one appearing in the list.
_OVERLAP = timedelta(minutes=1)
#: How long finished invocations are kept, for subscribers that join later.
_KEPT = timedelta(minutes=20)
#: How often in a row an active invocation may be missing in the list before it counts as gone.
_MAX_MISSES = 3


@dataclass(frozen=True)
class Finished:
    """
    An invocation that has finished, without payload and output.

    :param status: ``succeeded`` or ``failed``.
    :param finished: when, else when it was first listed as finished.
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
        payload = asdict(self)
        del payload["finished"]
        return {"invocation_id": payload.pop("id"), **payload}


class _Row(NamedTuple):
    """A row of the list, without payload and output."""

    id: str
    started: datetime | None
    taken: datetime
    finished: Finished | None

    @classmethod
    def of(cls, invocation: Invocation, taken: datetime) -> _Row:
        finished = None
        if invocation.is_final:
            finished = Finished(
                id=invocation.id,
                status=(InvocationStatus.FAILED if invocation.has_failed else InvocationStatus.SUCCEEDED).value,
                finished=parse_timestamp(invocation.finished_at) or taken,
                app_name=invocation.app_name,
                action_name=invocation.action_name,
                version=invocation.version,
                started_at=invocation.started_at,
                finished_at=invocation.finished_at,
                seconds=invocation.seconds,
            )
        return cls(invocation.id, parse_timestamp(invocation.started_at), taken, finished)


@dataclass(frozen=True)
class Snapshot:
    """
    What the list shows at one time.

    :param finished: the finished invocations, in order of time.
    :param complete_from: everything that finished after this time is there.
    :param taken: when, by the server's clock if it sends one.
    """

    finished: tuple[Finished, ...]
    complete_from: datetime
    taken: datetime


@dataclass
class CompletionPoller:
    """
    Poll the list, and remember what the next poll needs to know.

    :param clock: monotonic, in seconds.
    """

    clock: Callable[[], float] = time.monotonic
    _finished: dict[str, Finished] = field(default_factory=dict)
    _active: dict[str, datetime] = field(default_factory=dict)
    _misses: dict[str, int] = field(default_factory=dict)
    _newest_start: datetime | None = None
    _complete_from: datetime | None = None
    _backfill_from: datetime | None = None
    _server_zero: datetime | None = None  # the server's time when the monotonic clock was 0

    def request_backfill(self, back_to: datetime) -> None:
        """Make the next snapshot reach back to a time."""
        self._backfill_from = min(back_to, self._backfill_from or back_to)

    def poll(
        self, now: datetime, *, on_row: Callable[[Invocation], None] = lambda invocation: None
    ) -> Flow[Snapshot]:
        """Read the list once; ``on_row`` is called for each invocation that it shows."""
        backfill_from = self._backfill_from
        wanted = min(now - 2 * LAG, backfill_from or now)
        is_whole = self._complete_from is None or wanted < self._complete_from
        since = wanted - LIFETIME if is_whole else self._oldest_of_interest(now)
        rows: list[_Row] = []
        are_all_readable = True
        taken, has_date = now, False
        pages = Pages(requests.list_invocations(since=since))
        while (page := (yield from pages.fetch())) is not None:
            taken = page.server_time or taken
            has_date = page.server_time is not None
            are_all_readable = are_all_readable and not page.unreadable
            for invocation in page.items:
                rows.append(_Row.of(invocation, taken))
                on_row(invocation)
        if has_date:
            taken = self._without_jump(taken)
        # Only now: half a list, in an unknown order, says nothing of where the next poll may begin.
        for row in rows:
            self._note(row)
        if are_all_readable:
            self._count_misses({row.id for row in rows})
        else:
            self._newest_start = None  # what cannot be read now may have to be listed again
        if is_whole:
            self._complete_from = wanted
        if self._backfill_from == backfill_from:  # no further request came during the poll
            self._backfill_from = None
        snapshot = Snapshot(
            tuple(sorted(self._finished.values(), key=lambda finished: finished.finished)),
            self._complete_from or wanted,
            taken,
        )
        self._forget_before(taken - _KEPT)
        return snapshot

    def _without_jump(self, server_time: datetime) -> datetime:
        """
        Correct a server's clock that has jumped ahead, until the next poll confirms the jump.

        One answer with a wrong ``Date`` would move the cursors beyond what has not finished yet.
        """
        running = timedelta(seconds=self.clock())
        before, self._server_zero = self._server_zero, server_time - running
        if before is None or self._server_zero - before <= LAG:
            return server_time
        return before + running

    def _oldest_of_interest(self, now: datetime) -> datetime:
        return min([*self._active.values(), self._newest_start or now - LIFETIME]) - _OVERLAP

    def _note(self, row: _Row) -> None:
        if row.started is not None:
            self._newest_start = max(row.started, self._newest_start or row.started)
        if row.finished is None:
            self._active[row.id] = row.started or self._active.get(row.id, row.taken)
            return
        self._active.pop(row.id, None)
        self._finished.setdefault(row.id, row.finished)

    def _count_misses(self, listed: set[str]) -> None:
        for invocation_id in list(self._active):
            misses = 0 if invocation_id in listed else self._misses.get(invocation_id, 0) + 1
            self._misses[invocation_id] = misses
            if misses >= _MAX_MISSES:
                del self._active[invocation_id]
        self._misses = {i: misses for i, misses in self._misses.items() if i in self._active}

    def _forget_before(self, time: datetime) -> None:
        if self._complete_from is not None and time > self._complete_from:
            self._complete_from = time
            self._finished = {i: finished for i, finished in self._finished.items() if finished.finished >= time}


@dataclass(frozen=True)
class DeliveryCursor:
    """
    What has been delivered to a subscriber.

    :param after: all that finished up to this time.
    :param ids: and of what finished later, these.
    """

    after: datetime
    ids: frozenset[str]

    @classmethod
    def begin(cls, snapshot: Snapshot) -> DeliveryCursor:
        """Begin with the first snapshot: what it shows as finished is not delivered."""
        after = snapshot.taken - LAG
        return cls(after, frozenset(finished.id for finished in snapshot.finished if finished.finished > after))

    @classmethod
    def from_json(cls, document: Any) -> DeliveryCursor | None:
        """Read what :meth:`to_json` wrote; ``None`` for anything else."""
        if not isinstance(document, Mapping):
            return None
        after, ids = parse_timestamp(str(document.get("after"))), document.get("delivered")
        return cls(after, frozenset(map(str, ids))) if after and isinstance(ids, list) else None

    def to_json(self) -> dict[str, Any]:
        return {"after": self.after.isoformat(), "delivered": sorted(self.ids)}

    def has_gap(self, snapshot: Snapshot) -> bool:
        """Return whether a snapshot does not reach back to the cursor."""
        return snapshot.complete_from > self.after

    def advance(
        self, snapshot: Snapshot, is_wanted: Callable[[Finished], bool]
    ) -> tuple[list[Finished], DeliveryCursor]:
        """Return what a snapshot has to deliver, and the cursor after the delivery."""
        later = [f for f in snapshot.finished if f.finished > self.after and is_wanted(f)]
        after = max(self.after, snapshot.taken - LAG)
        # Also ids whose finish time is after this snapshot (clock skew), or they would be delivered again.
        known = frozenset(finished.id for finished in later if finished.finished > after)
        return [finished for finished in later if finished.id not in self.ids], DeliveryCursor(after, known)
