"""The status of an error says what is wrong, with or without a body that can be read."""

from __future__ import annotations

import gzip

import pytest
from contract.wire import Server, ok

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.http import answer as http_answer
from airflow_provider_kernel.client.resources.invocations import flows, requests
from airflow_provider_kernel.testing import Fault

GET = requests.get_invocation("abc")
START = requests.create_invocation("demo", "hang")
FOLLOW = requests.follow_invocation("abc", since="2h")

#: Bodies that cannot be read, as parts of a fault.
UNREADABLE = {
    "broken gzip": {"body": b"oops", "headers": {"Content-Encoding": "gzip"}},
    "gzip that ends early": {"body": gzip.compress(b"oops" * 99)[:20], "headers": {"Content-Encoding": "gzip"}},
    "an encoding not asked for": {"body": b"\x0b", "headers": {"Content-Encoding": "br"}},
    "cut off": {"body": b'{"code": "x", "message": "y"}', "truncate": True},
    "too large": {"body": b"x" * 1_000_000},
    "too large when decoded": {"body": gzip.compress(bytes(10**6)), "headers": {"Content-Encoding": "gzip"}},
    "announced as too large": {"body": b"", "headers": {"Content-Length": "9" * 15}, "truncate": True},
}


@pytest.fixture(params=UNREADABLE)
def fault(request):
    """Make a fault of an error with a body that cannot be read."""

    def make(method, status, nth=None, **headers):
        trouble = UNREADABLE[request.param]
        return Fault(
            method, "*", nth, **{**trouble, "status": status, "headers": {**trouble.get("headers", {}), **headers}}
        )

    return make


class TestWithoutABody:
    def test_error_is_of_the_class_of_its_status(self, client, kernel_emulator, fault):
        kernel_emulator.add_fault(fault("GET", 401, **{"X-Request-Id": "req_1"}))
        with pytest.raises(errors.KernelAuthenticationError) as caught:
            client.send(GET)
        assert caught.value.status_code == 401
        assert caught.value.request_id == "req_1"
        assert "API key" in str(caught.value)
        assert len(str(caught.value)) < 600

    def test_get_is_resent_after_a_passing_error(self, client, kernel_emulator, fault):
        started = client.send(START)
        kernel_emulator.add_fault(fault("GET", 502, 1))
        assert client.send(requests.get_invocation(started.id)).id == started.id

    @pytest.mark.parametrize("status", [429, 529])
    def test_create_that_was_refused_is_resent_when_the_server_says(self, client, kernel_emulator, fault, status):
        kernel_emulator.add_fault(fault("POST", status, 1, **{"Retry-After": "7"}))
        started = client.run(flows.start_invocation(START))
        assert [run.id for run in kernel_emulator.invocations] == [started.id]
        assert len(client.waits) == 1
        assert client.waits[0] >= 7

    def test_create_that_may_have_been_taken_is_ambiguous(self, client, kernel_emulator, fault):
        kernel_emulator.add_fault(fault("POST", 500))
        with pytest.raises(errors.KernelAmbiguousStartError, match="500"):
            client.run(flows.start_invocation(START))
        assert len(kernel_emulator.journal) == 1

    def test_stream_that_is_refused_says_why(self, client, kernel_emulator, fault):
        kernel_emulator.add_fault(fault("GET", 403))
        with pytest.raises(errors.KernelPermissionError):
            client.events(FOLLOW, idle_timeout=5)


class TestSlowBody:
    @pytest.fixture
    def server(self, monkeypatch):
        monkeypatch.setattr(http_answer, "ERROR_BODY_SECONDS", 0.2)

        def answer(server, client, number):
            if number > 1:
                client.sendall(ok(b'{"id": "abc", "status": "queued"}'))
                return True
            client.sendall(b"HTTP/1.1 429 Too Many\r\nRetry-After: 3\r\nContent-Length: 500\r\n\r\nslow ")
            server.drip(client, b"x" * 400, every=0.05)
            return False

        with Server(answer) as server:
            yield server

    def test_error_does_not_wait_for_its_body(self, connect, server):
        client = connect(server)
        assert client.run(flows.start_invocation(START)).id == "abc"
        assert len(client.waits) == 1
        assert client.waits[0] >= 3

    def test_error_shows_what_has_come_of_its_body(self, connect, server):
        client = connect(server)
        with pytest.raises(errors.KernelRateLimitError, match="429: slow x"):
            client.events(FOLLOW, idle_timeout=5)
