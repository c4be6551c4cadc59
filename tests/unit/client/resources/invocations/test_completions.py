"""Which invocations have finished, each once, told from a list that is asked for by start."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings, strategies as st

from airflow_provider_kernel.client.http.pagination import Page
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
    """A list of invocations, as it stands at a time; all times are minutes after noon."""

    def __init__(self, *, page_size=100, server_time=True):
        self.runs = {}
        self.page_size = page_size
        self.server_time = server_time
        self.asked = []
        self.rows = 0

    def run(self, name, start, end=None):
        self.runs[name] = (at(start), None if end is None else at(end))

    def look(self, poll, now, **options):
        """Carry out one look."""
        flow = poll.look(at(now), **options)
        request = next(flow)
        self.asked.append(dict(request.query)["since"])
        while True:
            query = dict(request.query)
            rows = self._rows(datetime.fromisoformat(query["since"].replace("Z", "+00:00")), at(now))
            offset = int(query["offset"])
            page = rows[offset : offset + self.page_size]
            self.rows += len(page)
            more = offset + self.page_size
            try:
                request = flow.send(
                    Page(tuple(page), more if more < len(rows) else None, at(now) if self.server_time else None)
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
    """Somebody who is told."""

    def __init__(self, poll, kernel, told=None):
        self.poll, self.kernel, self.told = poll, kernel, told
        self.names = []

    def look(self, now):
        back_to = self.told.after if self.told else None
        snapshot = self.kernel.look(self.poll, now, back_to=back_to)
        if self.told is None:
            self.told = DeliveryCursor.begin(snapshot)
            return []
        assert not self.told.misses_some_of(snapshot)
        news, self.told = self.told.news(snapshot, lambda finished: True)
        self.names += [finished.id for finished in news]
        return [finished.id for finished in news]


@pytest.fixture
def watcher(kernel):
    return Watcher(CompletionPoller(), kernel)


def test_what_had_finished_before_is_no_news(kernel, watcher):
    kernel.run("long ago", -60, -50)
    kernel.run("just now", -2, -1)
    assert watcher.look(0) == []
    assert watcher.look(1) == []


def test_what_finishes_is_told_once(kernel, watcher):
    kernel.run("before", -10, 0.5)
    kernel.run("between", 0.1, 0.2)
    watcher.look(0)
    assert watcher.look(1) == ["between", "before"]
    assert watcher.look(2) == []
    assert watcher.look(20) == []


def test_one_that_runs_for_an_hour_is_not_missed(kernel, watcher):
    kernel.run("long", -1, 58)
    for minute in range(58):
        assert watcher.look(minute) == []
        kernel.run(f"short {minute}", minute + 0.1, minute + 0.2)
        watcher.look(minute + 0.5)
    assert "long" in watcher.look(59)
    assert len(watcher.names) == len(set(watcher.names)) == 59


def test_it_asks_only_since_the_oldest_that_is_active(kernel, watcher):
    kernel.run("done", -30, -20)
    kernel.run("active", -3, 10)
    watcher.look(0)
    watcher.look(1)
    assert kernel.asked == [
        (at(0) - 2 * LAG - LIFETIME).isoformat().replace("+00:00", "Z"),
        (at(-3) - timedelta(minutes=1)).isoformat().replace("+00:00", "Z"),
    ]


def test_an_active_one_that_is_gone_does_not_hold_up_for_ever(kernel, watcher):
    kernel.run("deleted", -3)
    watcher.look(0)
    del kernel.runs["deleted"]
    kernel.run("other", 1, 2)
    for minute in (2, 3, 4, 5):
        watcher.look(minute)
    assert kernel.asked[-1] == at(0).isoformat().replace("+00:00", "Z")


def test_after_a_restart_what_finished_meanwhile_is_told_and_nothing_else_again(kernel, watcher):
    kernel.run("told", 0, 1)
    kernel.run("meanwhile", 0, 30)
    watcher.look(0)
    assert watcher.look(2) == ["told"]
    again = Watcher(CompletionPoller(), kernel, DeliveryCursor.from_json(watcher.told.to_json()))
    assert again.look(240) == ["meanwhile"]
    assert again.look(241) == []


def test_one_that_needs_more_than_a_look_shows_can_tell(kernel):
    told = DeliveryCursor(at(-120), frozenset())
    snapshot = kernel.look(CompletionPoller(), 0)
    assert told.misses_some_of(snapshot)
    assert not told.misses_some_of(kernel.look(CompletionPoller(), 0, back_to=at(-120)))


def test_somebody_may_join_later(kernel, watcher):
    kernel.run("first", 0.5, 1)
    kernel.run("second", 30.5, 31)
    watcher.look(0)
    for minute in range(1, 30):
        watcher.look(minute)
    other = Watcher(watcher.poll, kernel)
    assert other.look(30) == []
    assert other.look(32) == ["second"]


def test_an_event_has_id_status_and_timing_and_no_output(kernel, watcher):
    kernel.run("x", 0, 1)
    watcher.look(0)
    (finished,) = kernel.look(watcher.poll, 2).finished
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


@pytest.mark.parametrize("document", [None, 1, [], {}, {"after": "x", "told": []}, {"after": T0.isoformat()}])
def test_a_note_that_cannot_be_read_is_none(document):
    assert DeliveryCursor.from_json(document) is None


RUNS = st.lists(
    st.tuples(st.floats(-30, 150), st.floats(0.01, 60)).map(lambda run: (run[0], run[0] + run[1])), max_size=30
)


@settings(max_examples=150, deadline=None)
@given(
    runs=RUNS,
    looks=st.lists(st.floats(0.1, 20), min_size=1, max_size=30),
    restarts=st.sets(st.integers(1, 30)),
    page_size=st.integers(1, 7),
    server_time=st.booleans(),
)
def test_whatever_happens_each_is_told_exactly_once(runs, looks, restarts, page_size, server_time):
    kernel = Kernel(page_size=page_size, server_time=server_time)
    for number, (start, end) in enumerate(runs):
        kernel.run(f"run {number}", start, end)
    watcher = Watcher(CompletionPoller(), kernel)
    watcher.look(0)
    now, told = 0.0, []
    for number, pause in enumerate(looks, start=1):
        now += pause
        if number in restarts:
            watcher = Watcher(CompletionPoller(), kernel, DeliveryCursor.from_json(watcher.told.to_json()))
        told += watcher.look(now)
    expected = [f"run {n}" for n, (start, end) in enumerate(runs) if 0 < end <= now]
    assert sorted(told) == sorted(expected)
