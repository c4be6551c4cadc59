from __future__ import annotations

import json
import random
import tracemalloc
from datetime import timedelta
from itertools import pairwise

import pytest

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.http.response import Response, error_from
from airflow_provider_kernel.client.resources.invocations import events
from airflow_provider_kernel.client.resources.invocations.event_models import (
    Heartbeat,
    Invocation,
    LogLine,
    StateChange,
    StreamError,
    UnknownEvent,
    parse_event,
)
from airflow_provider_kernel.client.resources.invocations.events import MAX_FAILURES, EventFollower
from airflow_provider_kernel.testing.clock import format_time, parse_since

RESET = errors.KernelConnectionError("reset")
NOT_KERNEL = errors.KernelResponseError("HTML", status_code=200)


def http(status):
    return error_from(Response(status, {}, b'{"code": "c", "message": "m"}'))


def state(status="running"):
    return StateChange(invocation=Invocation(id="abc", status=status))


def line(message, second=0.0):
    """A line that was logged at a second of some day."""
    return LogLine(message=message, timestamp=format_time(1_767_225_600_000_000_000 + round(second * 1e9)))


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture(autouse=True)
def _two_seconds_of_overlap(monkeypatch):
    monkeypatch.setattr(events, "_OVERLAP", timedelta(seconds=2))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def follower(clock):
    return EventFollower("abc", clock=clock)


def take(follower, *stream):
    """Pass events to the follower; return what it yields: the messages of lines, and errors."""
    news = [piece for event in stream for piece in follower.accept(event)]
    return [piece.message if isinstance(piece, LogLine) else piece for piece in news]


def connection(follower, *stream):
    """Connect, pass events to the follower, and close."""
    follower.connect()
    taken = take(follower, *stream)
    follower.closed()
    return taken


def since(follower):
    return dict(follower.connect().query)["since"]


class TestParse:
    def parse(self, **document):
        return parse_event(json.dumps(document))

    def test_log_event_is_a_line(self):
        event = self.parse(event="log", message="hello\n", timestamp="2026-01-01T00:00:00.123456789Z")
        assert event == LogLine.model_validate(
            {"event": "log", "message": "hello\n", "timestamp": "2026-01-01T00:00:00.123456789Z"}
        )
        assert (event.message, event.timestamp) == ("hello\n", "2026-01-01T00:00:00.123456789Z")

    @pytest.mark.parametrize("rest", [{}, {"timestamp": None}, {"timestamp": "soon"}, {"level": "info"}])
    def test_log_event_without_a_readable_time_is_a_line(self, rest):
        event = self.parse(event="log", message="m", **rest)
        assert isinstance(event, LogLine)
        assert event.message == "m"

    @pytest.mark.parametrize(
        "message",
        [
            "",
            "\x00",
            "a\rb\r\nc\n",
            "\x1b[31m",
            "\u2028\u2029\x85",
            "\ud800",
            "\udc00\ud800",
            "😀",
            "x" * 1_000_000,
        ],
        ids=["empty", "NUL", "breaks", "ANSI", "U+2028", "surrogate", "surrogates", "pair", "1 MB"],
    )
    @pytest.mark.parametrize("ensure_ascii", [True, False], ids=["escaped", "as it is"])
    def test_log_event_may_hold_any_text(self, message, ensure_ascii):
        event = parse_event(json.dumps({"event": "log", "message": message}, ensure_ascii=ensure_ascii))
        assert isinstance(event, LogLine)
        assert event.message == message

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ('"message": "m", "timestamp": 1767268800', "m"),
            ('"message": "m", "timestamp": {"seconds": 1}', "m"),
            ('"message": "m", "n": ' + "9" * 10_000, "m"),
            ('"message": 5', "5"),
            ('"message": ["m"]', '["m"]'),
        ],
        ids=["time is a number", "time is an object", "a huge number", "a number", "a list"],
    )
    def test_log_line_with_an_odd_field_is_not_lost(self, fields, message):
        event = parse_event('{"event": "log", ' + fields + "}")
        assert isinstance(event, LogLine)
        assert (event.message, event.timestamp) == (message, None)

    @pytest.mark.parametrize(
        ("status", "final"), [("queued", False), ("running", False), ("odd", False), ("succeeded", True)]
    )
    def test_state_event_is_a_state_change(self, status, final):
        event = self.parse(event="invocation_state", invocation={"id": "abc", "status": status}, timestamp="t")
        assert isinstance(event, StateChange)
        assert (event.invocation.status, event.invocation.is_final) == (status, final)

    def test_state_event_may_hold_half_a_surrogate_pair(self):
        event = self.parse(
            event="invocation_state", invocation={"id": "abc", "status": "failed", "output": "\ud83d"}
        )
        assert event.invocation.is_final

    @pytest.mark.parametrize(
        ("error", "text"),
        [
            ({"code": "internal", "message": "oops", "details": [{"code": "x"}]}, "internal: oops"),
            ({"message": "oops"}, "oops"),
            ({"code": "internal", "message": None}, "internal"),
            ({"code": 500, "message": "oops"}, "oops"),
            ({}, "unknown"),
            ("oops", "unknown"),
        ],
        ids=["both", "message", "code", "odd code", "neither", "text"],
    )
    def test_error_event_is_a_stream_error(self, error, text):
        event = self.parse(event="error", error=error, timestamp="t")
        assert isinstance(event, StreamError)
        assert str(event) == text

    def test_heartbeat_event_is_a_heartbeat(self):
        assert isinstance(self.parse(event="sse_heartbeat", timestamp="t"), Heartbeat)
        assert isinstance(self.parse(event="sse_heartbeat"), Heartbeat)

    @pytest.mark.parametrize(
        "data",
        [
            "",
            " ",
            "hello",
            "{",
            '{"event": "log", "message": "m"',
            "null",
            "7",
            '"log"',
            "[]",
            '["log"]',
            "{}",
            '{"event": null}',
            '{"event": ["log"], "message": "m"}',
            '{"event": {"a": 1}}',
            '{"event": 5}',
            '{"event": ""}',
            '{"event": "LOG", "message": "m"}',
            '{"event": "deployment_state", "deployment": {}}',
            '{"event": "log"}',
            '{"event": "log", "message": null}',
            '{"event": "invocation_state"}',
            '{"event": "invocation_state", "invocation": null}',
            '{"event": "invocation_state", "invocation": "succeeded"}',
            '{"event": "invocation_state", "invocation": {"status": "succeeded"}}',
            '{"event": "invocation_state", "invocation": {"id": "abc", "status": 5}}',
            "[" * 100_000,
            "\ufeff{}",
            "\ud800",
            "\x00",
        ],
        ids=lambda data: repr(data[:60]),
    )
    def test_other_event_is_unknown_and_no_error(self, data):
        assert isinstance(parse_event(data), UnknownEvent)


class TestSince:
    def test_first_connection_requests_all_lines(self, follower):
        request = follower.connect()
        assert str(request) == "GET /invocations/abc/events"
        assert dict(request.query) == {"since": "2h"}

    def test_reconnect_without_any_line_requests_all_lines(self, follower):
        connection(follower, state(), Heartbeat(), UnknownEvent())
        assert since(follower) == "2h"

    def test_reconnect_requests_a_little_more_than_is_missing(self, follower):
        connection(follower, state(), line("a", 10), line("b", 11.25))
        assert since(follower) == "2026-01-01T00:00:09.250000Z"

    def test_reconnect_counts_from_the_latest_line_not_the_last(self, follower):
        connection(follower, line("b", 11), line("a", 10))
        assert since(follower) == "2026-01-01T00:00:09Z"

    def test_replayed_line_does_not_move_since_back(self, follower):
        connection(follower, line("a", 10), line("b", 11))
        connection(follower, line("a", 10))
        assert since(follower) == "2026-01-01T00:00:09Z"

    def test_nanoseconds_of_since_are_cut(self, follower):
        connection(follower, LogLine(message="a", timestamp="2026-01-01T00:00:10.123456999Z"))
        assert since(follower) == "2026-01-01T00:00:08.123456Z"

    def test_since_is_sent_in_utc(self, follower):
        connection(follower, LogLine(message="a", timestamp="2026-01-01T02:00:10+02:00"))
        assert since(follower) == "2026-01-01T00:00:08Z"

    @pytest.mark.parametrize("timestamp", [None, "", "soon", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00"])
    def test_lines_without_a_readable_time_do_not_move_since(self, follower, timestamp):
        connection(follower, LogLine(message="a", timestamp=timestamp))
        assert since(follower) == "2h"
        connection(follower, line("b", 10), LogLine(message="c", timestamp=timestamp))
        assert since(follower) == "2026-01-01T00:00:08Z"

    def test_zero_time_of_go_does_not_move_since(self, follower):
        zero = LogLine(message="a", timestamp="0001-01-01T00:00:00Z")
        assert connection(follower, zero) == ["a"]
        assert since(follower) == "2h"
        assert connection(follower, zero, zero) == ["a"]

    def test_follower_of_an_invalid_id_is_refused(self):
        with pytest.raises(errors.KernelInputError):
            EventFollower("None").connect()


class TestEachLineOnce:
    def test_lines_of_one_connection_all_come(self, follower):
        assert connection(follower, state(), line("a\n", 1), line("b", 2), line("a\n", 3)) == ["a\n", "b", "a\n"]

    def test_replayed_lines_are_dropped(self, follower):
        connection(follower, line("a", 1), line("b", 2), line("c", 3))
        assert connection(follower, line("a", 1), line("b", 2), line("c", 3), line("d", 4)) == ["d"]
        assert connection(follower, line("c", 3), line("d", 4)) == []
        assert connection(follower, line("c", 3), line("d", 4), line("e", 5)) == ["e"]

    def test_same_text_at_another_time_is_another_line(self, follower):
        connection(follower, line("tick", 1))
        assert connection(follower, line("tick", 1), line("tick", 2)) == ["tick"]

    def test_line_that_was_logged_twice_at_once_comes_twice(self, follower):
        twice = [line("a", 1), line("a", 1)]
        assert connection(follower, *twice) == ["a", "a"]
        assert connection(follower, *twice) == []
        assert connection(follower, *twice, line("b", 2)) == ["b"]

    def test_equal_lines_around_a_cut_all_come_once(self, follower):
        assert connection(follower, line("a", 1)) == ["a"]
        assert connection(follower, line("a", 1), line("a", 1), line("a", 1)) == ["a", "a"]
        assert connection(follower, line("a", 1), line("a", 1), line("a", 1)) == []

    def test_unseen_lines_of_the_same_moment_are_not_lost(self, follower):
        connection(follower, line("a", 1), line("b", 1))
        assert connection(follower, line("a", 1), line("b", 1), line("c", 1), line("d", 1)) == ["c", "d"]

    def test_lines_of_one_microsecond_are_told_apart(self, follower):
        first, second = (LogLine(message="a", timestamp=f"2026-01-01T00:00:10.00000000{n}Z") for n in (1, 2))
        assert connection(follower, first) == ["a"]
        assert connection(follower, first, second) == ["a"]

    def test_lines_older_than_since_are_dropped(self, follower):
        assert connection(follower, line("a", 1), line("b", 10)) == ["a", "b"]
        everything = [line("a", 1), line("never seen", 7.999999), line("b", 10), line("c", 11)]
        assert connection(follower, *everything) == ["c"]

    def test_late_line_at_the_time_of_since_is_not_dropped(self, follower):
        connection(follower, line("b", 10))
        assert connection(follower, line("late", 8), line("b", 10)) == ["late"]

    def test_line_at_the_time_of_since_is_remembered(self, follower):
        """Lines at exactly ``since`` are replayed too."""
        at = [LogLine(message="a", timestamp=f"2026-01-01T00:00:08.000000{nano}Z") for nano in ("000", "999")]
        connection(follower, *at, line("b", 10))
        assert connection(follower, *at, line("b", 10)) == []

    def test_first_connection_drops_no_old_line(self, follower):
        assert connection(follower, line("b", 10), line("a", 1)) == ["b", "a"]

    @pytest.mark.parametrize("timestamp", [None, "soon"])
    def test_lines_without_a_readable_time_are_counted_too(self, follower, timestamp):
        tick = LogLine(message="tick", timestamp=timestamp)
        assert connection(follower, tick, tick) == ["tick", "tick"]
        assert connection(follower, tick, tick, tick) == ["tick"]
        assert connection(follower, line("a", 10), tick, tick, tick) == ["a"]
        assert connection(follower, tick, tick, tick, tick) == ["tick"]

    def test_lines_that_are_too_old_for_a_replay_are_forgotten(self, follower):
        connection(follower, *(line(f"{n}", n) for n in range(100)))
        follower.connect()
        assert len(follower._seen) == 3


@pytest.mark.parametrize("inclusive", [True, False])
@pytest.mark.parametrize("precision", ["exact", "microseconds", "seconds, down", "seconds, up"])
def test_each_line_comes_once_for_any_precision_of_since_and_any_cuts(monkeypatch, inclusive, precision):
    """Many lines have the same time, many are equal, and the stream is cut 20 times."""
    monkeypatch.undo()  # with the real overlap
    steps = {"exact": 1, "microseconds": 10**3, "seconds, down": 10**9, "seconds, up": 10**9}
    for seed in range(60):
        chance = random.Random(seed)  # noqa: S311
        now = 1_767_225_600_000_000_000 + chance.randrange(10**9)
        log = []
        for _ in range(chance.randrange(1, 200)):
            now += chance.choice([0, 0, 0, 1, 999, 10**6, 3 * 10**8, 2 * 10**9])
            log.append((now, chance.choice("abc")))
        follower = EventFollower("abc")
        got = []
        for cuts_left in range(20, -1, -1):
            asked = parse_since(since(follower), now)
            step = steps[precision]
            asked = -(-asked // step) * step if precision == "seconds, up" else asked // step * step
            replay = [entry for entry in log if entry[0] > asked or (inclusive and entry[0] == asked)]
            cut = chance.randrange(len(replay) + 1) if cuts_left else len(replay)
            lines = [LogLine(message=text, timestamp=format_time(at)) for at, text in replay[:cut]]
            got += [(piece.timestamp, piece.message) for event in lines for piece in follower.accept(event)]
            follower.failed(RESET)
        assert got == [(format_time(at), text) for at, text in log], f"seed {seed}"


class TestIdleTimeout:
    def test_idle_timeout_is_a_minute_before_the_first_heartbeat(self, follower, clock):
        assert follower.idle_timeout == 60
        follower.connect()
        take(follower, state())
        clock.now = 1000
        take(follower, line("a"), UnknownEvent())
        assert follower.idle_timeout == 60

    def test_idle_timeout_is_three_heartbeats(self, follower, clock):
        follower.connect()
        take(follower, state())
        clock.now = 15
        take(follower, Heartbeat())
        assert follower.idle_timeout == 45

    def test_idle_timeout_follows_the_slowest_heartbeat(self, follower, clock):
        follower.connect()
        take(follower, state())
        for clock.now in (15, 35, 36):
            take(follower, Heartbeat())
        assert follower.idle_timeout == 60

    def test_idle_timeout_may_be_longer_than_a_minute(self, follower, clock):
        follower.connect()
        take(follower, state())
        clock.now = 50
        take(follower, Heartbeat())
        assert follower.idle_timeout == 150

    def test_idle_timeout_is_at_least_ten_seconds(self, follower, clock):
        follower.connect()
        for clock.now in (0, 1, 2):
            take(follower, Heartbeat())
        assert follower.idle_timeout == 10

    @pytest.mark.parametrize("other", [state(), line("a"), UnknownEvent()], ids=["state", "line", "unknown"])
    def test_idle_timeout_counts_from_the_last_event_of_any_kind(self, follower, clock, other):
        follower.connect()
        take(follower, Heartbeat())
        clock.now = 100
        take(follower, other)
        clock.now = 107
        take(follower, Heartbeat())
        assert follower.idle_timeout == 21

    def test_idle_timeout_excludes_the_time_between_two_connections(self, follower, clock):
        connection(follower, Heartbeat())
        clock.now = 1000
        follower.connect()
        take(follower, Heartbeat())
        assert follower.idle_timeout == 60

    def test_idle_timeout_is_kept_after_a_reconnect(self, follower, clock):
        follower.connect()
        take(follower, state())
        clock.now = 25
        take(follower, Heartbeat())
        follower.failed(RESET)
        follower.connect()
        assert follower.idle_timeout == 75


class TestEnd:
    @pytest.mark.parametrize("status", ["succeeded", "failed"])
    def test_final_state_ends_the_follower(self, follower, status):
        assert take(follower, line("a"), state(status)) == ["a"]
        assert follower.is_over()
        assert follower.is_final
        assert follower.given_up is None

    @pytest.mark.parametrize("status", ["queued", "running", "odd", "Succeeded"])
    def test_other_state_does_not_end_the_follower(self, follower, status):
        take(follower, state(status))
        assert not follower.is_over()

    def test_event_after_a_final_state_does_not_undo_the_end(self, follower):
        take(follower, state("failed"), state("running"))
        assert follower.is_final

    def test_closed_stream_does_not_end_the_follower(self, follower):
        connection(follower, state(), line("a"))
        assert not follower.is_over()

    def test_stream_error_is_passed_on_and_does_not_end_the_follower(self, follower):
        error = StreamError.model_validate({"error": {"code": "internal", "message": "oops"}})
        assert take(follower, line("a"), error, line("b", 1)) == ["a", error, "b"]
        assert not follower.is_over()

    def test_heartbeats_and_unknown_events_are_not_passed_on(self, follower):
        assert take(follower, Heartbeat(), UnknownEvent(), state()) == []


class TestGivingUp:
    @pytest.fixture
    def fail(self, follower, clock):
        """Make some connections fail in a row, each after its pause."""

        def fail(times, error=RESET):
            for _ in range(times):
                clock.now += follower.pause
                follower.connect()
                follower.failed(error)

        return fail

    @pytest.mark.parametrize(
        "error", [http(400), http(401), http(403), http(404), errors.KernelConfigurationError("odd")], ids=str
    )
    def test_stream_is_given_up_after_a_permanent_error(self, follower, error):
        follower.connect()
        follower.failed(error)
        assert follower.is_over()
        assert follower.given_up == str(error)
        assert not follower.is_final

    @pytest.mark.parametrize("error", [http(429), http(500), http(503), RESET, NOT_KERNEL], ids=str)
    def test_stream_is_given_up_after_five_minutes_of_transient_errors(self, follower, clock, fail, error):
        while not follower.is_over():
            fail(1, error)
        assert follower.given_up == str(error)
        assert 300 <= clock.now <= 300 + follower.pause

    def test_stream_is_not_given_up_after_few_failures_that_took_long(self, follower, clock, fail):
        for _ in range(MAX_FAILURES - 1):
            clock.now += 300
            fail(1)
        assert not follower.is_over()
        fail(1)
        assert follower.is_over()

    def test_stream_that_keeps_closing_without_a_byte_is_given_up(self, follower, clock):
        while not follower.is_over():
            connection(follower)
            clock.now += follower.pause
        assert follower.given_up == "the server keeps closing it"

    @pytest.mark.parametrize("error", [http(401), http(403), http(404)], ids=str)
    def test_refusal_of_a_stream_that_was_open_before_may_pass(self, follower, fail, error):
        connection(follower, state())
        fail(MAX_FAILURES, error)
        assert not follower.is_over()
        fail(20, error)
        assert follower.given_up == str(error)

    def test_stream_of_a_new_invocation_may_be_not_found_as_long_as_a_poll(self, clock):
        follower = EventFollower("abc", is_new=True, clock=clock)
        for clock.now in (1000, 1010, 1029):
            follower.connect()
            follower.failed(http(404))
            assert not follower.is_over()
        clock.now = 1031
        follower.failed(http(404))
        assert follower.given_up == str(http(404))

    @pytest.mark.parametrize(
        "event", [line("a"), Heartbeat(), state(), UnknownEvent()], ids=["line", "heartbeat", "state", "unknown"]
    )
    @pytest.mark.parametrize("end", ["closed", "failed"])
    def test_any_event_resets_the_count_of_failed_connections(self, follower, clock, fail, event, end):
        fail(MAX_FAILURES - 1)
        clock.now += 1000
        follower.connect()
        take(follower, event)
        follower.closed() if end == "closed" else follower.failed(RESET)
        fail(MAX_FAILURES)
        assert not follower.is_over()
        clock.now += 300
        fail(1)
        assert follower.is_over()

    def test_bytes_without_an_event_are_a_sign_of_life(self, follower, clock):
        for _ in range(100):
            clock.now += 100
            follower.connect()
            follower.heard()
            follower.closed()
        assert not follower.is_over()

    def test_stream_of_a_quiet_invocation_is_not_given_up_after_many_cuts(self, follower, clock):
        for _ in range(2000):
            connection(follower, state())
            clock.now += follower.pause
            assert follower.pause <= 30
        assert not follower.is_over()


class TestPause:
    @pytest.mark.parametrize(
        "stream", [[], [state()], [Heartbeat()], [line("the same")]], ids=["nothing", "state", "heartbeat", "line"]
    )
    def test_pauses_of_a_stream_that_closes_at_once_grow_and_are_bounded(self, follower, stream):
        connection(follower, line("the same"))
        pauses = [follower.pause]
        for _ in range(2000):
            connection(follower, *stream)
            pauses.append(follower.pause)
        assert pauses[0] == 0.2
        assert all(later == pytest.approx(min(2 * sooner, 30)) for sooner, later in pairwise(pauses))
        assert sum(pauses[:7]) > 10

    def test_pauses_after_new_lines_stay_short(self, follower):
        pauses = []
        for number in range(8):
            connection(follower, line(f"{number}", number))
            pauses.append(follower.pause)
        assert pauses == [0.2, 0.4, 0.8, *[1.6] * 5]

    @pytest.mark.parametrize(
        ("seconds", "event", "pause"),
        [(9, Heartbeat(), 6.4), (10, Heartbeat(), 0.2), (10, None, 6.4), (0, line("new", 1), 1.6)],
        ids=["short", "long", "long and silent", "new line"],
    )
    def test_pause_shrinks_after_a_connection_that_lived_or_brought_new_lines(
        self, follower, clock, seconds, event, pause
    ):
        for _ in range(5):
            connection(follower, state())
        follower.connect()
        take(follower, *([event] if event else []))
        clock.now += seconds
        follower.failed(RESET)
        assert follower.pause == pause

    @pytest.mark.parametrize(("asked", "pause"), [("0", 0.2), ("-5", 0.2), ("7", 7), ("9" * 400, 300)])
    def test_retry_after_makes_the_pause_longer_only(self, follower, asked, pause):
        follower.connect()
        follower.failed(error_from(Response(429, {"retry-after": asked}, b"")))
        assert follower.pause == pause

    @pytest.mark.parametrize("stream", [[], [state()]], ids=["no byte", "no new line"])
    def test_pauses_stay_short_for_the_last_lines(self, follower, stream):
        for _ in range(9):
            connection(follower, *stream)
        follower.keep_pauses_short()
        for _ in range(20):
            connection(follower, *stream)
            assert follower.pause == 0.2

    def test_retry_after_is_kept_for_the_last_lines(self, follower):
        follower.keep_pauses_short()
        follower.connect()
        follower.failed(error_from(Response(429, {"retry-after": "7"}, b"")))
        assert follower.pause == 7


def test_follower_of_a_long_stream_does_not_fill_the_memory():
    """Only lines that a reconnect would replay are kept: those of one second, and up to a thousand more."""
    follower = EventFollower("abc")
    follower.connect()
    for number in range(3600):
        stamp = f"2026-01-01T00:{number // 60:02}:{number % 60:02}.000000000Z"
        assert list(follower.accept(LogLine(event="log", message=f"line {number}", timestamp=stamp)))
    assert len(follower._seen) <= 1002
    assert len(follower._replayed) <= 1002


class TestManyLinesThatAReconnectWouldReplay:
    STAMPS = pytest.mark.parametrize(
        "stamp",
        [None, "soon", "2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00." + "5" * 4000 + "Z"],
        ids=["no time", "unreadable", "the same", "long"],
    )

    @pytest.fixture(autouse=True)
    def _few_are_remembered(self, monkeypatch):
        monkeypatch.setattr(events, "MAX_REMEMBERED_LINES", 100)

    @STAMPS
    def test_memory_for_them_is_bounded(self, follower, stamp):
        follower.connect()
        tracemalloc.start()
        for number in range(1000):
            assert take(follower, LogLine(message=f"{number} " + "x" * 4000, timestamp=stamp))
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held < 80_000

    @STAMPS
    def test_none_is_lost_in_a_cut(self, follower, stamp):
        lines = [LogLine(message=f"{number}", timestamp=stamp) for number in range(300)]
        twins = [*lines[150:], *lines[150:]]
        expected = [one.message for one in lines + twins]
        got = connection(follower, *lines) + connection(follower, *reversed(lines), *twins)
        assert all(got.count(text) >= expected.count(text) for text in set(expected))

    @STAMPS
    def test_those_within_the_bound_come_once(self, follower, stamp):
        lines = [LogLine(message=f"{number}", timestamp=stamp) for number in range(100)]
        assert len(connection(follower, *lines)) == 100
        assert connection(follower, *lines) == []
