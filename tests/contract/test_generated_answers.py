"""Whatever a server answers: a result, or an error of our tree that is short, printable, and without the key."""

from __future__ import annotations

import os
import time
import traceback
from datetime import datetime, timezone

import pytest
from contract import hostile
from contract.hostile import KEY
from contract.wire import Server, ok
from hypothesis import HealthCheck, given, settings, strategies as st

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.resources.apps import list_apps
from airflow_provider_kernel.client.resources.auth import get_auth_context
from airflow_provider_kernel.client.resources.invocations import find_started, flows, requests
from airflow_provider_kernel.client.resources.invocations.events import EventFollower
from airflow_provider_kernel.client.resources.invocations.result import unwrap_result
from airflow_provider_kernel.client.resources.invocations.wait import wait_for_invocation
from airflow_provider_kernel.client.retry import RetryPolicy

#: So many answers and events are generated at least, over all tests of this file.
COUNT = int(os.environ.get("GENERATED_ANSWERS", "400"))
#: Two kinds of tests, and two clients each.
EXAMPLES = max(1, COUNT // 4)
pytestmark = pytest.mark.timeout(60 + EXAMPLES // 4)

LAST = ok(b'{"id": "abc", "status": "succeeded", "output": "1"}')
END = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    b'data: {"event": "invocation_state", "invocation": {"id": "abc", "status": "succeeded"}}\n\n'
)
WANTED = requests.create_invocation("shop", "buy", payload={"a": 1})
SINCE = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)


def find_the_started():
    return find_started.find_started(find_started.StartCriteria.by(WANTED), since=SINCE, now=SINCE, patience=4)


#: What is called, and what kind of answer it wants.
CALLS = {
    "start": ("invocation", lambda client: client.run(flows.start_invocation(WANTED))),
    "get": (
        "invocation",
        lambda client: unwrap_result(client.send(requests.get_invocation("abc")), max_output_bytes=10),
    ),
    "update": ("invocation", lambda client: client.run(flows.update_invocation("abc", "succeeded", {"a": 1}))),
    "cancel": ("invocation", lambda client: list(client.run(flows.cancel_invocation("abc", "why")).report())),
    "watch": ("invocation", lambda client: client.run(wait_for_invocation("abc", poll_interval=0.01))),
    "find": ("list", lambda client: find_started.single_match(client.run(find_the_started()))),
    "list": ("list", lambda client: client.pages(requests.list_invocations(), rows=300)),
    "apps": ("apps", lambda client: client.pages(list_apps(), rows=300)),
    "browsers": ("browsers", lambda client: client.send(requests.list_invocation_browsers("abc"))),
    "delete": ("browsers", lambda client: client.send(requests.delete_invocation_browsers("abc"))),
    "auth": ("auth", lambda client: client.send(get_auth_context()).project_id),
    "events": ("invocation", lambda client: client.events(FOLLOW, idle_timeout=0.3)),
}
FOLLOW = requests.follow_invocation("abc", since="2h")


def conversations(name):
    """Draw what the server answers to the requests of a call."""
    kind, _ = CALLS[name]
    return st.tuples(st.just(name), st.lists(hostile.answers(kind), min_size=1, max_size=4))


class Scripted(Server):
    """A server that gives the answers that it is told to, one after another, and then a good one for ever."""

    def __init__(self):
        super().__init__(type(self)._give)
        self.script = iter(())
        self.last = LAST
        self.given = 0

    def _give(self, client, number):
        answer = next(self.script, None)
        self.given += answer is not None
        client.sendall(self.last if answer is None else answer)
        return False


@pytest.fixture(scope="module")
def server():
    with Scripted() as server:
        yield server


@pytest.fixture
def client(connect, server, monkeypatch):
    # What is not closed counts as silent soon; nothing waits between attempts.
    monkeypatch.setattr("airflow_provider_kernel.client.http.response_body.MAX_RESPONSE_BYTES", 2**20)
    return connect(
        server,
        api_key=KEY,
        logger=None,
        connect_timeout=2,
        read_timeout=0.5,
        retry=RetryPolicy(max_attempts=2, max_seconds=60, base_seconds=0),
    )


def check(act):
    """Do something that a hostile server has a part in; return whether it went well."""
    started = time.monotonic()
    try:
        act()
    except errors.KernelError as error:
        text = str(error)
        shown = "".join([text, repr(error), *traceback.format_exception(error)])
        assert KEY not in shown
        assert text.isprintable()
        assert len(text) < 2500
    # Not how fast it is, but that it ends: two dozen attempts at most, of three seconds each.
    assert time.monotonic() - started < 80


GENERATED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def test_generated_answers_give_a_result_or_a_kernel_error(client, server, tell, connect):
    server.last, server.given = LAST, 0

    @GENERATED
    @given(st.sampled_from([*CALLS]).flatmap(conversations))
    def try_(conversation):
        name, script = conversation
        server.script = iter(script)
        check(lambda: CALLS[name][1](client))

    try_()
    assert server.given >= EXAMPLES
    tell(f"generated answers, {connect.kind} client: {server.given:,} given, 0 escapes")


def test_generated_events_give_a_result_or_a_kernel_error(client, server, tell, connect):
    server.last, server.given = END, 0
    events = 0

    @GENERATED
    @given(st.lists(hostile.streams(), min_size=1, max_size=4))
    def try_(script):
        nonlocal events
        server.script = iter([stream for stream, _ in script])
        events += sum(count for _, count in script)
        follower = EventFollower("abc")
        check(lambda: client.follow(follower))
        assert KEY not in str(follower.given_up)

    try_()
    tell(f"generated streams, {connect.kind} client: {server.given:,} with {events:,} events, 0 escapes")
