"""
The event stream of an invocation: what its events are, and how to follow it through cuts.

There is no event id to resume from, only ``since``, whose precision is not documented. So a reconnect requests a
little more than is missing, and lines that were seen are dropped: no line is lost, and to one follower none comes
twice.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta, timezone
from itertools import islice

from airflow_provider_kernel.client.bounds import MAX_REMEMBERED_LINES
from airflow_provider_kernel.client.errors import (
    KernelError,
    KernelNotFoundError,
)
from airflow_provider_kernel.client.http.sse import StreamRequest
from airflow_provider_kernel.client.outage import NOT_FOUND_GRACE_SECONDS
from airflow_provider_kernel.client.resources.invocations import requests
from airflow_provider_kernel.client.resources.invocations.event_models import (
    Event,
    Heartbeat,
    LogLine,
    StateChange,
    StreamError,
)
from airflow_provider_kernel.client.retry import MAX_RETRY_AFTER_SECONDS, pause_after
from airflow_provider_kernel.client.timestamps import parse_timestamp

#: The first request asks for all lines of a run, which lasts an hour at most.
FROM_THE_START = "2h"
#: How far behind the last line a new connection starts: more than any precision that ``since`` may have.
_OVERLAP = timedelta(seconds=1)
#: A line before this has Go's zero time, the year 1; subtracting from that would overflow ``datetime``.
_EARLIEST = datetime(1970, 1, 1, tzinfo=timezone.utc)
#: Lines between two cleanups of those that no reconnect would replay.
_FORGET_EVERY = 1000
#: How long a stream may be silent before it counts as dead, until its heartbeat interval is known.
_IDLE_TIMEOUT_SECONDS = 60.0
_MIN_IDLE_TIMEOUT_SECONDS = 10.0
_MAX_IDLE_TIMEOUT_SECONDS = 300.0
#: The stream is given up after this many connections in a row on which nothing came...
MAX_FAILURES = 6
#: ...if the last sign of life was this long ago.
MAX_SILENT_SECONDS = 300.0
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 30.0
#: How often the first pause is doubled: after connections without new lines, and after one that brought some.
_MAX_DOUBLINGS = 10
_MAX_DOUBLINGS_AFTER_NEWS = 3
#: How long a connection must live for the pauses to begin anew.
_LIVED_SECONDS = 10.0

#: A line's time, if it can be read, and a digest of the line: lines may be long, and many.
_LineKey = tuple[datetime | None, bytes]


class EventFollower:
    """
    Decides when to reconnect to an invocation's stream, which lines are new, and when to stop. Sends nothing.

    :param is_new: whether the invocation was started just now; the stream may then be "not found" at first, and a
        key that is refused was good a moment ago.
    :param clock: monotonic, in seconds.
    """

    def __init__(
        self, invocation_id: str, *, is_new: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.invocation_id = invocation_id
        #: Whether the stream reported the invocation's end.
        self.is_final = False
        #: Why the stream was given up; ``None`` as long as it was not.
        self.given_up: str | None = None
        #: Why nothing comes at present; ``None`` after a sign of life.
        self.problem: str | None = None
        #: How long to wait before the next connection, in seconds.
        self.pause = 0.0
        self._is_new = is_new
        self._clock = clock
        self._cutoff: datetime | None = None
        self._newest: datetime | None = None
        self._seen: dict[_LineKey, int] = {}
        self._replayed: dict[_LineKey, int] = {}
        self._new_lines = 0
        self._began: float | None = None
        self._connected_at = 0.0
        self._is_alive = False  # whether this connection has given a sign of life
        self._has_news = False  # and a new line
        self._alive_at: float | None = None  # the last sign of life of any connection
        self._failed_connections = 0  # in a row without a sign of life
        self._short_connections = 0  # in a row
        self._pauses_grow = True
        self._event_at: float | None = None
        self._longest_gap: float | None = None

    def is_over(self) -> bool:
        return self.is_final or self.given_up is not None

    @property
    def idle_timeout(self) -> float:
        """How long the stream may be silent before it counts as dead, in seconds: three of its heartbeats."""
        if self._longest_gap is None:
            return _IDLE_TIMEOUT_SECONDS
        return min(max(_MIN_IDLE_TIMEOUT_SECONDS, 3 * self._longest_gap), _MAX_IDLE_TIMEOUT_SECONDS)

    def connect(self) -> StreamRequest[Event]:
        since = FROM_THE_START
        if self._newest is not None and self._newest >= _EARLIEST:
            self._cutoff = self._newest - _OVERLAP
            since = self._cutoff.isoformat().replace("+00:00", "Z")
            self._forget_before(self._cutoff)
        self._replayed.clear()
        self._connected_at = self._clock()
        if self._began is None:
            self._began = self._connected_at
        self._is_alive, self._has_news, self._event_at = False, False, None
        return requests.follow_invocation(self.invocation_id, since=since)

    def accept(self, event: Event) -> Iterator[LogLine | StreamError]:
        """Take an event, and yield it if it is a new line or an error."""
        self.heard()
        if isinstance(event, Heartbeat):
            self._measure_heartbeats()
        self._event_at = self._clock()
        if isinstance(event, StateChange):
            self.is_final = self.is_final or event.invocation.is_final
        elif isinstance(event, StreamError):
            yield event
        elif isinstance(event, LogLine) and self._is_unseen(event):
            self._has_news = True
            yield event

    def heard(self) -> None:
        """Note a sign of life of the connection; any byte is one."""
        self._is_alive, self._alive_at, self.problem = True, self._clock(), None

    def closed(self) -> None:
        """Note that the server closed the stream. The invocation may still be running."""
        self._ended("the server keeps closing it", None)

    def failed(self, error: KernelError) -> None:
        if self._may_pass(error):
            self._ended(str(error), error)
        else:
            self.given_up = self.problem = str(error)

    def keep_pauses_short(self) -> None:
        """Let no pause grow from now on: the invocation has ended, and its last lines are read for a short time."""
        self._pauses_grow = False

    def _measure_heartbeats(self) -> None:
        # From the last event of any kind: Kernel may send heartbeats only while there is nothing else to send.
        if self._event_at is not None:
            self._longest_gap = max(self._longest_gap or 0.0, self._clock() - self._event_at)

    def _may_pass(self, error: KernelError) -> bool:
        if isinstance(error, KernelNotFoundError):
            is_early = self._began is not None and self._clock() < self._began + NOT_FOUND_GRACE_SECONDS
            return self._alive_at is not None or (self._is_new and is_early)
        if error.refuses_key:
            return self._alive_at is not None or self._is_new
        return not error.permanent

    def _ended(self, why: str, error: KernelError | None) -> None:
        now = self._clock()
        self.problem = None if self._is_alive else why
        if not self._pauses_grow or (self._is_alive and now - self._connected_at >= _LIVED_SECONDS):
            self._short_connections = 0
        doublings = min(self._short_connections, _MAX_DOUBLINGS_AFTER_NEWS if self._has_news else _MAX_DOUBLINGS)
        self._short_connections = doublings + 1
        growing = min(_FIRST_PAUSE_SECONDS * 2.0**doublings, _LONGEST_PAUSE_SECONDS)
        self.pause = pause_after(error, growing, at_most=MAX_RETRY_AFTER_SECONDS)
        self._failed_connections = 0 if self._is_alive else self._failed_connections + 1
        silent_since = self._alive_at if self._alive_at is not None else self._began
        if self._failed_connections >= MAX_FAILURES and now - (silent_since or 0.0) >= MAX_SILENT_SECONDS:
            self.given_up = why

    def _is_unseen(self, line: LogLine) -> bool:
        when = parse_timestamp(line.timestamp)
        if when is not None and self._cutoff is not None and when < self._cutoff:
            return False  # older than ``since``: seen before
        key = when, _digest(line)
        # Counted, because a run may log the same line twice at the same moment.
        self._replayed[key] = self._replayed.get(key, 0) + 1
        is_replayed = self._replayed[key] <= self._seen.get(key, 0)
        if not is_replayed:
            self._seen[key] = self._seen.get(key, 0) + 1
        self._forget_excess()
        if is_replayed:
            return False
        self._new_lines += 1
        if self._new_lines % _FORGET_EVERY == 0 and self._newest is not None:
            self._forget_before(self._newest - _OVERLAP)
        if when is not None and (self._newest is None or when > self._newest):
            self._newest = when
        return True

    def _forget_before(self, cutoff: datetime) -> None:
        old = {key for key in (*self._seen, *self._replayed) if key[0] is not None and key[0] < cutoff}
        self._forget(old)

    def _forget_excess(self) -> None:
        for counts in (self._seen, self._replayed):
            if len(counts) > MAX_REMEMBERED_LINES:
                # Many at a time: to find the first entry of a dict is slow after others before it were deleted.
                self._forget(list(islice(counts, MAX_REMEMBERED_LINES // 10 + 1)))

    def _forget(self, keys: Iterable[_LineKey]) -> None:
        # From both: a line that is forgotten only as replayed would count as seen, and its twin would be lost.
        for key in keys:
            self._seen.pop(key, None)
            self._replayed.pop(key, None)


def _digest(line: LogLine) -> bytes:
    text = f"{line.timestamp}\n{line.message}"
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
