"""Each finished invocation is found once, in a list that can be filtered by start time only."""

import math
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings, strategies as st

from airflow_provider_kernel.client.errors import KernelServerError
from airflow_provider_kernel.client.http.pagination import Page, UnreadableRow
from airflow_provider_kernel.client.resources.invocations.completions import (
    LAG,
    LIFETIME,
    CompletionPoller,
    DeliveryCursor,
)
from airflow_provider_kernel.client.resources.invocations.models import Invocation

T0 = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


def at(minutes):
    return T0 + timedelta(minutes=minutes)


class Kernel:
    """A list of invocations at a point in time; all times are minutes after noon."""

    def __init__(self, *, page_size=100, server_time=True):
        self.runs = {}
        self.page_size = page_size
        self.server_time = server_time
        #: By how many minutes the server's clock is wrong.
        self.clock_error = 0
        self.listed_since = []
        self.rows = 0
        #: Names of runs that the list shows in a way that cannot be read.
        self.unreadable = set()
        #: From which offset on the list cannot be fetched.
        self.fails_from = math.inf

    def run(self, name, start, end=None):
        self.runs[name] = (at(start), None if end is None else at(end))

    def poll(self, poller, now, *, back_to=None, **options):
        """Carry out one poll."""
        if back_to is not None:
            poller.request_backfill(back_to)
        poller.clock = lambda: 60.0 * now
        flow = poller.poll(at(now), **options)
        request = next(flow)
        self.listed_since.append(dict(request.query)["since"])
        while True:
            query = dict(request.query)
            rows = self._rows(datetime.fromisoformat(query["since"].replace("Z", "+00:00")), at(now))
            offset = int(query["offset"])
            if offset >= self.fails_from:
                flow.throw(KernelServerError("down"))
            page = rows[offset : offset + self.page_size]
            self.rows += len(page)
            more = offset + self.page_size
            try:
                request = flow.send(
                    Page(
                        tuple(run for run in page if run.id not in self.unreadable),
                        more if more < len(rows) else None,
                        at(now + self.clock_error) if self.server_time else None,
                        tuple(UnreadableRow("status") for run in page if run.id in self.unreadable),
                    )
                )
            except StopIteration as done:
                return done.value

    def _rows(self, since, now):
        found = []
        for name, (start, end) in self.runs.items():
            if since <= start <= now:
                is_over = end is not None and end <= now
                found.append(
                    Invocation(
                        id=name,
                        status="succeeded" if is_over else "running",
                        app_name="shop",
                        action_name="buy",
                        started_at=start.isoformat(),
                        finished_at=end.isoformat() if is_over else None,
                        output="secret" if is_over else None,
                    )
                )
        return sorted(found, key=lambda invocation: invocation.started_at, reverse=True)


@pytest.fixture
def kernel():
    return Kernel()


class Watcher:
    """A subscriber with its cursor."""

    def __init__(self, poller, kernel, cursor=None):
        self.poller, self.kernel, self.cursor = poller, kernel, cursor
        self.names = []

    def poll(self, now):
        back_to = self.cursor.after if self.cursor else None
        snapshot = self.kernel.poll(self.poller, now, back_to=back_to)
        if self.cursor is None:
            self.cursor = DeliveryCursor.begin(snapshot)
            return []
        assert not self.cursor.has_gap(snapshot)
        new, self.cursor = self.cursor.advance(snapshot, lambda finished: True)
        self.names += [finished.id for finished in new]
        return [finished.id for finished in new]


@pytest.fixture
def watcher(kernel):
    return Watcher(CompletionPoller(), kernel)


def test_what_finished_before_the_first_poll_is_not_delivered(kernel, watcher):
    kernel.run("long ago", -60, -50)
    kernel.run("just now", -2, -1)
    assert watcher.poll(0) == []
    assert watcher.poll(1) == []


def test_a_finished_invocation_is_delivered_once(kernel, watcher):
    kernel.run("before", -10, 0.5)
    kernel.run("between", 0.1, 0.2)
    watcher.poll(0)
    assert watcher.poll(1) == ["between", "before"]
    assert watcher.poll(2) == []
    assert watcher.poll(20) == []


def test_an_invocation_that_runs_for_an_hour_is_delivered(kernel, watcher):
    kernel.run("long", -1, 58)
    for minute in range(58):
        assert watcher.poll(minute) == []
        kernel.run(f"short {minute}", minute + 0.1, minute + 0.2)
        watcher.poll(minute + 0.5)
    assert "long" in watcher.poll(59)
    assert len(watcher.names) == len(set(watcher.names)) == 59


def test_a_poll_lists_since_the_oldest_active_invocation(kernel, watcher):
    kernel.run("done", -30, -20)
    kernel.run("active", -3, 10)
    watcher.poll(0)
    watcher.poll(1)
    assert kernel.listed_since == [
        (at(0) - 2 * LAG - LIFETIME).isoformat().replace("+00:00", "Z"),
        (at(-3) - timedelta(minutes=1)).isoformat().replace("+00:00", "Z"),
    ]


def test_a_deleted_invocation_does_not_keep_the_list_long(kernel, watcher):
    kernel.run("deleted", -3)
    watcher.poll(0)
    del kernel.runs["deleted"]
    kernel.run("other", 1, 2)
    for minute in (2, 3, 4, 5):
        watcher.poll(minute)
    assert kernel.listed_since[-1] == at(0).isoformat().replace("+00:00", "Z")


def test_what_cannot_be_read_for_a_while_is_delivered_afterwards(kernel, watcher):
    kernel.run("odd", -1, 1)
    watcher.poll(0)
    kernel.unreadable = {"odd"}
    for minute in range(1, 5):
        kernel.run(f"r{minute}", minute - 0.5, minute)
        watcher.poll(minute + 0.1)
    kernel.unreadable = set()
    watcher.poll(5)
    assert sorted(watcher.names) == ["odd", *(f"r{minute}" for minute in range(1, 5))]


def test_a_list_that_broke_off_does_not_move_the_next_one(kernel, watcher):
    watcher.poll(0)
    for minute in range(1, 6):
        kernel.run(f"r{minute}", minute, minute + 0.1)
    kernel.page_size = 1
    kernel.fails_from = 1  # the newest is on the first page
    with pytest.raises(KernelServerError):
        watcher.poll(7)
    kernel.fails_from = math.inf
    assert sorted(watcher.poll(8)) == ["r1", "r2", "r3", "r4", "r5"]


def test_an_end_with_an_unknown_status_is_delivered_as_failed():
    poller = CompletionPoller()
    flow = poller.poll(at(5))
    next(flow)
    ended = Invocation(id="x", status="timed_out", started_at=at(0).isoformat(), finished_at=at(1).isoformat())
    with pytest.raises(StopIteration) as done:
        flow.send(Page((ended,), None))
    assert [(f.id, f.status) for f in done.value.value.finished] == [("x", "failed")]


def test_a_stored_cursor_delivers_what_finished_meanwhile_and_nothing_twice(kernel, watcher):
    kernel.run("before", 0, 1)
    kernel.run("meanwhile", 0, 30)
    watcher.poll(0)
    assert watcher.poll(2) == ["before"]
    again = Watcher(CompletionPoller(), kernel, DeliveryCursor.from_json(watcher.cursor.to_json()))
    assert again.poll(240) == ["meanwhile"]
    assert again.poll(241) == []


def test_a_cursor_finds_a_gap_that_a_backfill_closes(kernel):
    cursor = DeliveryCursor(at(-120), frozenset())
    snapshot = kernel.poll(CompletionPoller(), 0)
    assert cursor.has_gap(snapshot)
    assert not cursor.has_gap(kernel.poll(CompletionPoller(), 0, back_to=at(-120)))


def test_a_subscriber_may_join_later(kernel, watcher):
    kernel.run("first", 0.5, 1)
    kernel.run("second", 30.5, 31)
    watcher.poll(0)
    for minute in range(1, 30):
        watcher.poll(minute)
    other = Watcher(watcher.poller, kernel)
    assert other.poll(30) == []
    assert other.poll(32) == ["second"]


def test_a_completion_event_has_id_status_and_timing_and_no_output(kernel, watcher):
    kernel.run("x", 0, 1)
    watcher.poll(0)
    (finished,) = kernel.poll(watcher.poller, 2).finished
    assert finished.payload() == {
        "invocation_id": "x",
        "app_name": "shop",
        "action_name": "buy",
        "version": None,
        "status": "succeeded",
        "started_at": at(0).isoformat(),
        "finished_at": at(1).isoformat(),
        "seconds": 60.0,
    }


def test_a_backfill_that_is_requested_during_a_poll_is_kept_for_the_next_one(kernel):
    poller = CompletionPoller()
    flow = poller.poll(at(0))
    next(flow)
    poller.request_backfill(at(-120))
    with pytest.raises(StopIteration):
        flow.send(Page((), None))
    assert kernel.poll(poller, 1).complete_from == at(-120)


@pytest.mark.parametrize("document", [None, 1, [], {}, {"after": "x", "delivered": []}, {"after": T0.isoformat()}])
def test_a_cursor_that_cannot_be_read_is_none(document):
    assert DeliveryCursor.from_json(document) is None


# In milliseconds: a timestamp of the API holds no more than microseconds.
RUNS = st.lists(
    st.tuples(st.integers(-30_000, 150_000), st.integers(10, 60_000)).map(
        lambda run: (run[0] / 1000, (run[0] + run[1]) / 1000)
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(
    runs=RUNS,
    pauses=st.lists(st.integers(100, 20_000), min_size=1, max_size=30),
    restarts=st.sets(st.integers(1, 30)),
    page_size=st.integers(1, 7),
    server_time=st.booleans(),
)
def test_every_completion_is_delivered_exactly_once(runs, pauses, restarts, page_size, server_time):
    kernel = Kernel(page_size=page_size, server_time=server_time)
    for number, (start, end) in enumerate(runs):
        kernel.run(f"run {number}", start, end)
    watcher = Watcher(CompletionPoller(), kernel)
    watcher.poll(0)
    elapsed, delivered = 0, []
    for number, pause in enumerate(pauses, start=1):
        elapsed += pause
        now = elapsed / 1000
        if number in restarts:
            watcher = Watcher(CompletionPoller(), kernel, DeliveryCursor.from_json(watcher.cursor.to_json()))
        delivered += watcher.poll(now)
    expected = [f"run {n}" for n, (start, end) in enumerate(runs) if 0 < end <= now]
    assert sorted(delivered) == sorted(expected)


def test_one_answer_with_a_wrong_date_loses_nothing():
    kernel, poller = Kernel(), CompletionPoller()
    kernel.run("late", start=1, end=30)
    cursor = DeliveryCursor.begin(kernel.poll(poller, 2))
    kernel.clock_error = 60 * 24 * 365
    _, cursor = cursor.advance(kernel.poll(poller, 3), lambda finished: True)
    kernel.clock_error = 0
    delivered, _ = cursor.advance(kernel.poll(poller, 31), lambda finished: True)
    assert [finished.id for finished in delivered] == ["late"]


def test_clock_that_was_set_ahead_is_followed_from_the_second_poll_on():
    kernel, poller = Kernel(), CompletionPoller()
    kernel.poll(poller, 2)
    kernel.clock_error = 60
    assert kernel.poll(poller, 3).taken == at(3)
    assert kernel.poll(poller, 4).taken == at(64)
