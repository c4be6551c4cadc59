"""Both clients read the event stream alike, and follow it through whatever cuts it: each line once, in order."""

from __future__ import annotations

import json
import random
import time
from contextlib import closing
from datetime import timedelta

import pytest
from contract import troubles
from contract.wire import Relay, Server, ok

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.outage import NOT_FOUND_GRACE_SECONDS
from airflow_provider_kernel.client.resources.auth import get_auth_context
from airflow_provider_kernel.client.resources.invocations import events, requests
from airflow_provider_kernel.client.resources.invocations.event_models import LogLine, StateChange, UnknownEvent
from airflow_provider_kernel.client.resources.invocations.events import (
    MAX_FAILURES,
    MAX_SILENT_SECONDS,
    EventFollower,
)
from airflow_provider_kernel.testing import Fault
from airflow_provider_kernel.testing.clock import format_time

PATH = "/invocations/*/events"
SSE = {"Content-Type": "text/event-stream"}
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def _drain(client, pieces, *, until=None):
    """Collect what a stream of either client hands on, up to some number of pieces."""
    found = []
    if not hasattr(client, "loop"):
        with closing(pieces):
            for piece in pieces:
                found.append(piece)
                if len(found) == until:
                    break
        return found

    async def collect():
        async for piece in pieces:
            found.append(piece)
            if len(found) == until:
                break
        await pieces.aclose()

    client.loop.run_until_complete(collect())
    return found


def follow(client, follower, *, until=None):
    return _drain(client, client._client.follow(follower), until=until)


def read(client, *, idle_timeout=10.0, until=None):
    request = requests.follow_invocation("abc", since="2h")
    return _drain(client, client._client.events(request, idle_timeout=idle_timeout), until=until)


def follower_of(client, invocation_id="abc", **options):
    """A follower for which the client's waits take time; no wait of these tests does."""
    return EventFollower(invocation_id, clock=lambda: time.monotonic() + sum(client.waits), **options)


def messages(news):
    return [piece.message if isinstance(piece, LogLine) else piece for piece in news]


def talk(client, lines=500):
    """Start an action that logs 100 lines a second."""
    payload = {"lines": lines, "per_second": 100}
    return client.send(requests.create_invocation("demo", "logs", payload=payload)).id


def asked(kernel_emulator):
    return [dict(request.query).get("since") for request in kernel_emulator.requests("GET", PATH)]


def body(*pieces):
    """A stream: documents, and text that goes in as it is."""
    return "".join(p if isinstance(p, str) else f"data: {json.dumps(p)}\n\n" for p in pieces).encode()


def state(status):
    return {"event": "invocation_state", "invocation": {"id": "abc", "status": status}, "timestamp": "t"}


def line(message, second=0.0):
    time = format_time(1_767_225_600_000_000_000 + round(second * 1e9))
    return {"event": "log", "message": message, "timestamp": time}


END = state("succeeded")
#: What the demo's action writes.
LINES = [f"line {number}" for number in range(1, 501)]


@pytest.fixture
def script(kernel_emulator):
    """Have the emulator answer the requests for a stream with these bodies, one after another."""

    def script(*bodies):
        for number, text in enumerate(bodies, start=1):
            kernel_emulator.add_fault(Fault("GET", PATH, number, status=200, headers=SSE, body=text))

    return script


class TestThroughCuts:
    @pytest.fixture(autouse=True)
    def _hurry(self, kernel_emulator):
        kernel_emulator.time_scale = 20

    @pytest.mark.parametrize("inclusive", [True, False], ids=["inclusive", "exclusive"])
    @pytest.mark.parametrize("without_since", ["live", "all"])
    def test_follow_through_twenty_cuts_yields_each_line_once_in_order(
        self, client, kernel_emulator, inclusive, without_since
    ):
        """All of it happens within the overlap, so that each connection begins with all lines."""
        kernel_emulator.switches.since_inclusive = inclusive
        kernel_emulator.switches.logs_without_since = without_since
        chance = random.Random(f"{inclusive} {without_since}")  # noqa: S311
        cuts = [*chance.sample(range(1, 490), 12), *(chance.randrange(490) for _ in range(8))]
        chance.shuffle(cuts)
        for number, place in enumerate(cuts, start=1):
            how = chance.choice(["drop", "end"])
            kernel_emulator.add_fault(Fault("GET", PATH, number, cut_after=place, cut=how))
        follower = EventFollower(talk(client))
        assert messages(follow(client, follower)) == LINES
        assert follower.is_final
        assert follower.given_up is None
        # A cut that lies behind what there is to tell does not come to pass, so that it may be fewer than twenty.
        assert len(asked(kernel_emulator)) == len(client.waits) + 1 > 1

    @pytest.mark.parametrize("inclusive", [True, False], ids=["inclusive", "exclusive"])
    def test_follow_through_cuts_without_a_whole_replay(self, client, kernel_emulator, monkeypatch, inclusive):
        monkeypatch.setattr(events, "_OVERLAP", timedelta(milliseconds=5))
        kernel_emulator.switches.since_inclusive = inclusive
        chance = random.Random(4711)  # noqa: S311
        for number in range(1, 21):
            how = chance.choice(["drop", "end"])
            fault = Fault("GET", PATH, number, cut_after=chance.randint(12, 24), cut=how, reset=number % 3 == 0)
            kernel_emulator.add_fault(fault)
        follower = EventFollower(talk(client))
        assert messages(follow(client, follower)) == LINES
        assert follower.is_final
        sinces = asked(kernel_emulator)
        assert sinces[0] == "2h"
        assert sinces[1:] == sorted(sinces[1:])
        assert len(set(sinces)) > 5

    @pytest.mark.parametrize("trouble", troubles.ALL)
    def test_follow_through_cuts_and_failed_reconnects(self, connect, kernel_emulator, trouble, monkeypatch):
        client = connect(kernel_emulator, read_timeout=10)
        kernel_emulator.add_fault(Fault("GET", PATH, (1, 5), cut_after=40))
        fault = kernel_emulator.add_fault(
            Fault("GET", PATH, (2, 3, 4), **({"cut_after": 0} if "cut off" in trouble else troubles.ALL[trouble]))
        )
        if trouble == "no answer in time":
            monkeypatch.setattr(events, "_IDLE_TIMEOUT_SECONDS", 0.1)
        follower = EventFollower(talk(client, 80))
        assert messages(follow(client, follower)) == LINES[:80]
        fault.release()
        assert follower.is_final

    def test_follow_through_an_outage(self, client, kernel_emulator, nothing_listens):
        invocation_id = talk(client, 80)
        kernel_emulator.wait_for_status(invocation_id, "succeeded")
        follower = EventFollower(invocation_id)
        nothing_listens(MAX_FAILURES - 1)
        assert messages(follow(client, follower)) == LINES[:80]
        assert len(client.waits) == MAX_FAILURES - 1

    def test_follow_of_an_ended_invocation_connects_once(self, client, kernel_emulator):
        invocation_id = talk(client)
        kernel_emulator.wait_for_status(invocation_id, "succeeded")
        assert messages(follow(client, EventFollower(invocation_id))) == LINES
        assert client.waits == []
        assert asked(kernel_emulator) == ["2h"]


class TestGivingUp:
    @pytest.mark.parametrize(
        ("answer", "says"),
        [
            ({"status": 500}, "500 internal_error: A fault of the emulator"),
            ({"status": 502, "body": troubles.ERROR_PAGE}, "502: <html>"),
            ({"status": 429, "headers": {"Retry-After": "3600"}}, "429 "),
            ({"status": 200, "body": troubles.ERROR_PAGE}, "200, but no event stream"),
            ({"status": 200, "body": {"id": "abc"}}, "200, but no event stream"),
            ({"status": 204}, "204, but no event stream"),
            ({"status": 206, "headers": SSE, "body": body(END)}, "206, but no event stream"),
            ({"status": 302, "headers": {"Location": "https://login.example"}}, "302, a redirect to https://login"),
            ({"status": 200, "headers": SSE, "body": b""}, "the server keeps closing it"),
            ({"drop": "before"}, "the connection was cut before the answer was complete"),
            (
                {"status": 200, "headers": {**SSE, "Content-Encoding": "gzip"}, "body": b"no gzip"},
                "the body cannot be decoded",
            ),
        ],
        ids=[
            "500",
            "502",
            "429",
            "HTML",
            "JSON",
            "204",
            "206",
            "redirect",
            "empty",
            "dropped",
            "not what it says",
        ],
    )
    def test_follow_gives_up_after_five_minutes_of_failed_connections(self, client, kernel_emulator, answer, says):
        kernel_emulator.add_fault(Fault("GET", PATH, None, **answer))
        follower = follower_of(client)
        assert follow(client, follower) == []
        assert says in follower.given_up
        assert len(asked(kernel_emulator)) == len(client.waits) + 1 >= MAX_FAILURES
        assert sum(client.waits) >= MAX_SILENT_SECONDS
        assert client.waits == sorted(client.waits)

    @pytest.mark.parametrize("status", [400, 401, 403, 404])
    def test_follow_gives_up_at_once_on_a_permanent_error(self, client, kernel_emulator, status):
        kernel_emulator.add_fault(Fault("GET", PATH, None, status=status))
        follower = follower_of(client)
        assert follow(client, follower) == []
        assert follower.given_up.startswith(f"GET /invocations/abc/events: {status} ")
        assert "(1 attempt in " in follower.given_up
        assert len(asked(kernel_emulator)) == 1
        assert client.waits == []

    def test_follow_of_an_unknown_invocation_gives_up(self, client):
        follower = follower_of(client)
        assert follow(client, follower) == []
        assert "404 not_found: Invocation 'abc' not found" in follower.given_up

    def test_follow_of_a_new_invocation_waits_for_its_stream_as_long_as_for_a_poll(self, client, kernel_emulator):
        kernel_emulator.add_fault(Fault("GET", PATH, None, status=404))
        follower = follower_of(client, is_new=True)
        follow(client, follower)
        assert "404" in follower.given_up
        assert NOT_FOUND_GRACE_SECONDS <= sum(client.waits) < 2 * NOT_FOUND_GRACE_SECONDS

    def test_follow_does_not_give_up_a_stream_with_comments_only(self, client, script):
        *quiet, last = [body(": keep-alive\n\n")] * 30 + [body(line("a"), END)]
        script(*quiet, last)
        follower = follower_of(client)
        assert messages(follow(client, follower)) == ["a"]
        assert sum(client.waits) > MAX_SILENT_SECONDS

    @pytest.mark.parametrize(
        "event", [line("a"), {"event": "sse_heartbeat"}, state("running")], ids=["line", "heartbeat", "state"]
    )
    def test_follow_slows_down_for_a_stream_that_closes_at_once(self, client, kernel_emulator, event):
        kernel_emulator.add_fault(Fault("GET", PATH, range(1, 20), status=200, headers=SSE, body=body(event)))
        kernel_emulator.add_fault(Fault("GET", PATH, 20, status=200, headers=SSE, body=body(END)))
        follow(client, follower_of(client))
        assert len(client.waits) == 19
        assert sum(client.waits[:10]) > 10

    def test_follow_yields_what_came_before_it_gives_up(self, client, kernel_emulator, running, script):
        script(body(line("a"), line("b", 1)))
        kernel_emulator.add_fault(Fault("GET", PATH, range(2, 99), status=500))
        follower = follower_of(client, running)
        assert messages(follow(client, follower)) == ["a", "b"]
        assert "500" in follower.given_up
        assert sum(client.waits) >= MAX_SILENT_SECONDS

    def test_follow_gives_up_when_nothing_listens(self, client, kernel_emulator):
        follower = follower_of(client)
        with kernel_emulator.outage():
            assert follow(client, follower) == []
        assert "the connection was refused" in follower.given_up
        assert sum(client.waits) >= MAX_SILENT_SECONDS

    def test_follow_reads_a_bounded_part_of_what_is_no_stream(self, connect, monkeypatch):
        monkeypatch.setattr("airflow_provider_kernel.client.http.response_body.MAX_RESPONSE_BYTES", 2**20)

        def endless(server, client, number):
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n")
            while not server.stopped.is_set():
                client.sendall(b"x" * 65536)
            return False

        with Server(endless) as server, pytest.raises(errors.KernelResponseError, match="is larger than 1 MiB"):
            read(connect(server))

    def test_follow_error_does_not_hold_the_key(self, connect, kernel_emulator):
        client = connect(kernel_emulator, api_key="sk-very-secret")
        page = "<html>Authorization: Bearer sk-very-secret</html>"
        kernel_emulator.add_fault(Fault("GET", PATH, None, status=500, body=page))
        follower = follower_of(client)
        follow(client, follower)
        assert "Bearer ***" in follower.given_up
        assert "sk-very-secret" not in follower.given_up


class TestIdleTimeout:
    @pytest.fixture(autouse=True)
    def _impatient(self, monkeypatch, kernel_emulator):
        monkeypatch.setattr(events, "_IDLE_TIMEOUT_SECONDS", 0.1)
        kernel_emulator.switches.heartbeat_seconds = None

    def test_stream_idle_for_too_long_is_reconnected(self, client, kernel_emulator, running):
        client.on_wait = lambda: len(client.waits) == 2 and kernel_emulator.finish(running)
        follower = EventFollower(running)
        assert follow(client, follower) == []
        assert follower.is_final
        assert len(asked(kernel_emulator)) >= 3

    def test_idle_streams_are_no_reason_to_give_up(self, client, kernel_emulator, running):
        """A quiet action, and no heartbeats: the state that each stream begins with is a sign of life."""
        client.on_wait = lambda: len(client.waits) == MAX_FAILURES + 1 and kernel_emulator.finish(running)
        follower = EventFollower(running)
        follow(client, follower)
        assert follower.is_final

    def test_idle_timeout_includes_the_time_before_the_response(self, client, kernel_emulator, running):
        fault = kernel_emulator.add_fault(Fault("GET", PATH, 1, hold=True))
        client.on_wait = lambda: len(client.waits) == 1 and kernel_emulator.finish(running)
        follower = EventFollower(running)
        follow(client, follower)
        fault.release()
        assert follower.is_final
        assert len(asked(kernel_emulator)) >= 2

    def test_heartbeats_reset_the_idle_timeout(self, client, kernel_emulator, running, monkeypatch):
        """Each heartbeat in time: the stream lives longer than any silence may last."""
        kernel_emulator.switches.heartbeat_seconds = 0.1
        monkeypatch.setattr(events, "_IDLE_TIMEOUT_SECONDS", 0.5)
        monkeypatch.setattr(events, "_MIN_IDLE_TIMEOUT_SECONDS", 0.5)

        class Follower(EventFollower):
            heartbeats = 0

            def _measure_heartbeats(self):
                super()._measure_heartbeats()
                self.heartbeats += 1
                if self.heartbeats == 6:
                    kernel_emulator.finish(running)

        follower = Follower(running)
        follow(client, follower)
        assert follower.is_final
        assert len(asked(kernel_emulator)) == 1

    def test_idle_timeout_is_a_kernel_timeout_error(self, client, kernel_emulator, running):
        fault = kernel_emulator.add_fault(Fault("GET", PATH, None, hold=True))
        with pytest.raises(errors.KernelTimeoutError, match="GET /invocations/abc/events: no answer in time"):
            read(client, idle_timeout=0.05)
        fault.release()

    def test_idle_timeout_of_a_stream_is_not_the_read_timeout(self, connect, kernel_emulator, running, monkeypatch):
        kernel_emulator.switches.heartbeat_seconds = 0.2
        monkeypatch.setattr(events, "_IDLE_TIMEOUT_SECONDS", 10.0)
        client = connect(kernel_emulator, read_timeout=0.05)

        class Follower(EventFollower):
            def _measure_heartbeats(self):
                kernel_emulator.finish(running)

        follower = Follower(running)
        follow(client, follower)
        assert follower.is_final
        assert client.waits == []


class TestWhatAStreamHolds:
    def test_stream_skips_comments_unknown_kinds_and_unreadable_events(self, client, script):
        script(
            body(
                ": a comment\n\n",
                ":\n:\n\n",
                "event: log\n\n",
                "data\n\n",
                "retry: 5\nid: 7\n\n",
                "nonsense\n\n",
                "data: {broken\n\n",
                {"event": "deployment_state", "deployment": {}},
                line("a"),
                ": in between\n",
                'event: sse_heartbeat\ndata: {"event": "log",\ndata: "message": "in two parts"}\n\n',
                {"event": "log", "message": None},
                {"event": "sse_heartbeat"},
                "data: " + json.dumps(line("b", 1)) + "\r\n\r\n",
                "data:" + json.dumps(line("c", 2)) + "\r\r",
                END,
                line("after the end", 9),
            )
        )
        follower = EventFollower("abc")
        assert messages(follow(client, follower)) == ["a", "in two parts", "b", "c"]
        assert follower.is_final
        assert client.waits == []

    def test_stream_event_cut_in_the_middle_is_dropped(self, client, script):
        whole = body(line("a"), line("b", 1), END)
        script(whole[: whole.index(b'"b"') + 2], whole)
        assert messages(follow(client, EventFollower("abc"))) == ["a", "b"]
        assert len(client.waits) == 1

    @pytest.mark.parametrize(
        "message",
        [
            "x" * 1_000_000,
            "ü€😀" * 100_000,
            "a\u2028b\u2029c\x85d",
            "a\rb\r\nc\nd\n",
            "a\x00b\x0b\x0c\x1b[31m",
            "a\ud800b\udfff",
            "",
            "data: x\n\nevent: y",
        ],
        ids=["1 MB", "1 MB of UTF-8", "U+2028", "breaks", "NUL", "surrogates", "empty", "like a stream"],
    )
    @pytest.mark.parametrize("ensure_ascii", [True, False], ids=["escaped", "as it is"])
    def test_stream_line_arrives_as_it_was_written(self, client, script, message, ensure_ascii):
        if not ensure_ascii and "\ud800" in message:
            message = message.encode("utf-8", "replace").decode()  # there is no other way to send it
        text = json.dumps(line(message), ensure_ascii=ensure_ascii)
        script(body(line("before", -1), f"data: {text}\n\n", line("after", 1), END))
        follower = EventFollower("abc")
        assert messages(follow(client, follower)) == ["before", message, "after"]
        assert follower.is_final

    def test_stream_bytes_that_are_no_utf8_are_replaced(self, client, script):
        script(body(line("a")) + b'data: {"event": "log", "message": "\xff\xfe"}\n\n' + body(line("b", 1), END))
        assert messages(follow(client, EventFollower("abc"))) == ["a", "\ufffd\ufffd", "b"]

    def test_stream_may_arrive_in_any_portions(self, connect):
        raw = json.dumps(line("a\u2028ü😀"), ensure_ascii=False)
        whole = body(f"data: {raw}\r\n\r\n", ": c\n", line("b\r", 1), END)

        def in_single_bytes(server, client, number):
            client.sendall(STREAM_HEAD)
            for byte in whole:
                client.sendall(bytes((byte,)))
            return False

        with Server(in_single_bytes) as server:
            assert messages(follow(connect(server), EventFollower("abc"))) == ["a\u2028ü😀", "b\r"]

    def test_stream_keeps_twin_lines_with_a_cut_between_them(self, client, script):
        first, twin, last = line("a"), line("twin", 1), line("z", 1)
        script(body(first, twin), body(first, twin, twin, last), body(first, twin, twin, last, END))
        assert messages(follow(client, EventFollower("abc"))) == ["a", "twin", "twin", "z"]
        assert len(client.waits) == 2

    @pytest.mark.parametrize("timestamp", [None, "soon", "0001-01-01T00:00:00Z"])
    def test_stream_lines_without_a_usable_timestamp_are_kept(self, client, kernel_emulator, script, timestamp):
        first, second, third = ({"event": "log", "message": m, "timestamp": timestamp} for m in "aba")
        script(body(first, second), body(first, second, third), body(first, second, third, END))
        assert messages(follow(client, EventFollower("abc"))) == ["a", "b", "a"]
        assert asked(kernel_emulator) == ["2h"] * 3

    def test_stream_error_event_is_passed_on_and_is_no_end(self, client, script):
        error = {"event": "error", "error": {"code": "internal", "message": "oops"}}
        script(body(line("a"), error), body(line("a"), line("b", 1), END))
        news = follow(client, EventFollower("abc"))
        assert [str(piece) if not isinstance(piece, LogLine) else piece.message for piece in news] == [
            "a",
            "internal: oops",
            "b",
        ]

    @pytest.mark.parametrize("kind", ["text/event-stream; charset=utf-8", "text/event-stream;charset=UTF-8"])
    def test_stream_content_type_may_name_its_charset(self, client, kernel_emulator, kind):
        kernel_emulator.add_fault(
            Fault("GET", PATH, status=200, headers={"Content-Type": kind}, body=body(line("ü"), END))
        )
        assert messages(follow(client, EventFollower("abc"))) == ["ü"]

    def test_events_yields_every_event(self, client, script):
        script(body(state("running"), {"event": "odd"}, line("a"), "data: x\n\n", END))
        first, odd, log, x, last = read(client)
        assert (type(first), type(log), type(last)) == (StateChange, LogLine, StateChange)
        assert odd == x == UnknownEvent()
        assert last.invocation.is_final


class TestTheConnection:
    def test_stream_request_accepts_event_stream(self, client, kernel_emulator, running):
        kernel_emulator.finish(running)
        follow(client, EventFollower(running))
        (request,) = kernel_emulator.requests("GET", PATH)
        headers = {name.lower(): value for name, value in dict(request.headers).items()}
        assert headers["accept"] == "text/event-stream"
        assert headers["cache-control"] == "no-store"

    def test_stream_connection_is_closed_at_the_end(self, connect):
        def stays_open(server, client, number):
            client.sendall(STREAM_HEAD.replace(b"Connection: close\r\n", b"") + body(line("a"), END))
            server.stopped.wait(10)
            return False

        with Server(stays_open) as server:
            client = connect(server)
            assert messages(follow(client, EventFollower("abc"))) == ["a"]
            # Nothing runs the loop of the asynchronous client here: it must have been done with.
            with server._changed:
                (sock,) = server._sockets
            sock.settimeout(5)
            assert sock.recv(1) == b""

    def test_stream_connection_is_closed_when_the_caller_stops(self, connect, client, kernel_emulator):
        follower = EventFollower(talk(client))
        with Relay(kernel_emulator.port) as relay:
            reader = connect(relay)
            assert messages(follow(reader, follower, until=3)) == LINES[:3]
            assert not follower.is_over()
            relay.wait_until_open(0)
            assert reader.send(requests.get_invocation(follower.invocation_id)).status == "running"
            assert relay.connections == 2

    def test_stream_does_not_block_other_calls(self, client, kernel_emulator, running):
        looked = []

        class Follower(EventFollower):
            def accept(self, event):
                looked.append(event)
                kernel_emulator.invocation(running).finished or kernel_emulator.finish(running)
                return super().accept(event)

        follow(client, Follower(running))
        assert client.send(requests.get_invocation(running)).is_final
        assert client.send(get_auth_context())

    def test_stream_connection_does_not_leak_when_the_response_is_no_stream(self, connect):
        def answers(server, client, number):
            client.sendall(ok(b"{}"))
            return True

        with Server(answers) as server:
            client = connect(server)
            follow(client, follower_of(client))
            assert len(server.requests) >= MAX_FAILURES
            # A connection with an unusable answer is not used again.
            server.wait_until_open(0)


class TestTheWaits:
    def test_follow_sleeps_with_the_sleep_of_the_client(self, client, kernel_emulator, running):
        kernel_emulator.add_fault(Fault("GET", PATH, (1, 2), cut_after=1))
        client.on_wait = lambda: len(client.waits) == 2 and kernel_emulator.finish(running)
        follow(client, EventFollower(running))
        assert client.waits == [pytest.approx(0.2), pytest.approx(0.4)]

    def test_follow_raises_an_error_of_its_sleep(self, client, kernel_emulator):
        killed = errors.KernelTaskKilledError("killed")

        def kill():
            raise killed

        client.on_wait = kill
        kernel_emulator.add_fault(Fault("GET", PATH, None, status=500))
        follower = EventFollower("abc")
        with pytest.raises(errors.KernelTaskKilledError) as caught:
            follow(client, follower)
        assert caught.value is killed
        assert follower.given_up is None
        assert len(asked(kernel_emulator)) == 1
