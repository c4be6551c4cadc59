"""
The event stream of an invocation: what its events are, and how to follow it through cuts.

There is no event id to resume from, only ``since``, whose precision is not documented. So a reconnect requests a
little more than is missing, and lines that were seen are dropped: no line is lost, and none comes twice.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone

from airflow_provider_kernel.client.errors import KernelError
from airflow_provider_kernel.client.http.request import StreamRequest
from airflow_provider_kernel.client.resources.invocations import requests
from airflow_provider_kernel.client.resources.invocations.models import (
    Event,
    Heartbeat,
    LogLine,
    StateChange,
    StreamError,
)
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
#: Connections in a row without any event after which the stream is given up.
MAX_FAILURES = 6
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
#: The same, while the connections deliver events, although no new line.
_LONGEST_PAUSE_OF_LIVE_SECONDS = 0.2


class EventFollower:
    """
    Decides when to reconnect to an invocation's stream, which lines are new, and when to stop. Sends nothing.

    :param clock: monotonic, in seconds.
    """

    def __init__(self, invocation_id: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.invocation_id = invocation_id
        #: Whether the stream reported the invocation's end.
        self.is_final = False
        #: Why the stream was given up; ``None`` as long as it was not.
        self.given_up: str | None = None
        self._clock = clock
        self._cutoff: datetime | None = None
        self._newest: datetime | None = None
        self._seen: Counter[tuple[str | None, str]] = Counter()
        self._replayed: Counter[tuple[str | None, str]] = Counter()
        self._new_lines = 0
        self._failed_reconnects = 0  # connections in a row without any event
        self._idle_reconnects = 0  # connections in a row without anything new
        self._heard_at: float | None = None
        self._longest_gap: float | None = None

    def is_over(self) -> bool:
        return self.is_final or self.given_up is not None

    @property
    def idle_timeout(self) -> float:
        """How long the stream may be silent before it counts as dead, in seconds: three of its heartbeats."""
        if self._longest_gap is None:
            return _IDLE_TIMEOUT_SECONDS
        return max(_MIN_IDLE_TIMEOUT_SECONDS, 3 * self._longest_gap)

    @property
    def pause(self) -> float:
        """How long to wait before the next connection, in seconds."""
        longest = _LONGEST_PAUSE_SECONDS if self._failed_reconnects else _LONGEST_PAUSE_OF_LIVE_SECONDS
        # The exponent is bounded too: a quiet invocation may see a thousand cuts, and no float holds 2.0**1024.
        return min(_FIRST_PAUSE_SECONDS * 2.0 ** min(self._idle_reconnects, 10), longest)

    def connect(self) -> StreamRequest[Event]:
        since = FROM_THE_START
        if self._newest is not None and self._newest >= _EARLIEST:
            self._cutoff = self._newest - _OVERLAP
            since = self._cutoff.isoformat().replace("+00:00", "Z")
            self._forget_before(self._cutoff)
        self._replayed.clear()
        self._heard_at = None
        return requests.follow_invocation(self.invocation_id, since=since)

    def accept(self, event: Event) -> Iterator[LogLine | StreamError]:
        """Take an event, and yield it if it is a new line or an error."""
        if isinstance(event, Heartbeat):
            self._measure_heartbeats()
            self._idle_reconnects = 0
        self._heard_at = self._clock()
        if isinstance(event, StateChange):
            self.is_final = self.is_final or event.invocation.is_final
        elif isinstance(event, StreamError):
            yield event
        elif isinstance(event, LogLine) and self._is_new(event):
            self._idle_reconnects = 0
            yield event

    def closed(self) -> None:
        """Note that the server closed the stream. The invocation may still be running."""
        self._fail("the server keeps closing it")

    def failed(self, error: KernelError) -> None:
        if error.permanent:
            self.given_up = str(error)
        else:
            self._fail(str(error))

    def _measure_heartbeats(self) -> None:
        # From the last event of any kind: Kernel may send heartbeats only while there is nothing else to send.
        if self._heard_at is not None:
            self._longest_gap = max(self._longest_gap or 0.0, self._clock() - self._heard_at)

    def _fail(self, why: str) -> None:
        self._idle_reconnects += 1
        self._failed_reconnects = self._failed_reconnects + 1 if self._heard_at is None else 0
        if self._failed_reconnects >= MAX_FAILURES:
            self.given_up = why

    def _is_new(self, line: LogLine) -> bool:
        time_ = parse_timestamp(line.timestamp)
        if time_ is not None and self._cutoff is not None and time_ < self._cutoff:
            return False  # older than ``since``: seen before
        key = (line.timestamp, line.message)
        # Counted, because a run may log the same line twice at the same moment.
        self._replayed[key] += 1
        if self._replayed[key] <= self._seen[key]:
            return False
        self._seen[key] += 1
        self._new_lines += 1
        if self._new_lines % _FORGET_EVERY == 0 and self._newest is not None:
            self._forget_before(self._newest - _OVERLAP)
        if time_ is not None and (self._newest is None or time_ > self._newest):
            self._newest = time_
        return True

    def _forget_before(self, cutoff: datetime) -> None:
        for counts in (self._seen, self._replayed):
            for key in list(counts):
                time_ = parse_timestamp(key[0])
                if time_ is not None and time_ < cutoff:
                    del counts[key]
