"""Every call ends: after so many attempts, after so much time, and however slowly somebody answers."""

from __future__ import annotations

import math
import socket
import sys
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from contract import troubles
from contract.wire import Server

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.destination import ConnectionProblem
from airflow_provider_kernel.client.resources.invocations import flows, requests
from airflow_provider_kernel.client.retry import RetryPolicy
from airflow_provider_kernel.testing import Fault

GET = requests.get_invocation("abc")
CREATE = requests.create_invocation("demo", "hang")


class TestASlowAnswer:
    @pytest.fixture
    def server(self):
        """It sends a byte of its answer often enough for any read time-out; after five seconds it is complete."""

        def answer(server, client, number):
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 250\r\n\r\n")
            server.drip(client, b'{"id": "abc", "status": "running"}'.rjust(250), every=0.02)
            return False

        with Server(answer) as server:
            yield server

    @pytest.fixture
    def patient_half_a_second(self, connect, server):
        return connect(server, connect_timeout=0.1, read_timeout=0.2, retry=RetryPolicy(max_attempts=1))

    def test_slow_response_is_abandoned_at_the_deadline(self, patient_half_a_second, server):
        started = time.monotonic()
        with pytest.raises(errors.KernelTimeoutError, match="was not complete after") as caught:
            patient_half_a_second.send(GET)
        assert time.monotonic() - started < 4
        assert caught.value.sent
        server.wait_until_open(0)

    def test_slow_response_to_a_create_is_ambiguous(self, patient_half_a_second, server):
        with pytest.raises(errors.KernelAmbiguousStartError):
            patient_half_a_second.run(flows.start_invocation(CREATE))
        assert len(server.requests) == 1

    def test_response_that_does_not_begin_is_abandoned_after_the_read_timeout(self, connect, kernel_emulator):
        client = connect(kernel_emulator, read_timeout=0.1, retry=RetryPolicy(max_attempts=1))
        fault = kernel_emulator.add_fault(Fault("*", "*", None, hold=True))
        with pytest.raises(errors.KernelTimeoutError, match="no answer in time") as caught:
            client.send(GET)
        fault.release()
        assert caught.value.sent
        assert caught.value.problem is ConnectionProblem.TIMEOUT
        assert "raise read_timeout" in str(caught.value)


#: What comes byte by byte, at least in part, before any body does.
NEVER_A_BODY = {
    "a status line": b"HTTP/1.1 200 " + b"O" * 10_000,
    "a header": b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 10_000,
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 10_000,
    "promises": b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000,
    "other promises": b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" * 10_000,
    "empty lines": b"\r\n" * 10_000,
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 10_000,
    "the size of a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 10_000,
    "trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 10_000,
}


@pytest.mark.parametrize("what", NEVER_A_BODY)
class TestAnAnswerThatDrips:
    @pytest.fixture
    def server(self, what):
        def answer(server, client, number):
            server.drip(client, NEVER_A_BODY[what], every=0.02)
            return False

        with Server(answer) as server:
            yield server

    @pytest.fixture
    def patient_half_a_second(self, connect, server):
        return connect(server, connect_timeout=0.1, read_timeout=0.2, retry=RetryPolicy(max_attempts=1))

    def test_dripping_response_is_abandoned_at_the_deadline(self, patient_half_a_second, server):
        started = time.monotonic()
        # Some are no HTTP, which is told as soon as it is seen.
        with pytest.raises(errors.KernelConnectionError) as caught:
            patient_half_a_second.send(GET)
        assert time.monotonic() - started < 5
        assert caught.value.sent
        server.wait_until_open(0)

    def test_dripping_headers_of_a_stream_are_abandoned_at_the_deadline(self, patient_half_a_second, server):
        started = time.monotonic()
        with pytest.raises(errors.KernelError):
            patient_half_a_second.events(requests.follow_invocation("abc", since="2h"), idle_timeout=60)
        assert time.monotonic() - started < 5
        server.wait_until_open(0)


def test_request_that_the_server_reads_slowly_is_abandoned(connect):
    def answer(server, client, number):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        while not server.stopped.wait(0.05) and client.recv(512):
            pass
        return False

    with Server(answer) as server:
        patient = connect(server, connect_timeout=0.1, read_timeout=0.2, retry=RetryPolicy(max_attempts=1))
        started = time.monotonic()
        with pytest.raises(errors.KernelTimeoutError) as caught:
            patient.send(requests.create_invocation("demo", "hang", payload="x" * 4_000_000))
        assert time.monotonic() - started < 5
        assert caught.value.sent


class TestAStream:
    def test_stream_that_drips_an_endless_line_times_out(self, connect):
        def answer(server, client, number):
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            server.drip(client, b"x" * 10_000, every=0.02)
            return False

        with Server(answer) as server:
            started = time.monotonic()
            with pytest.raises(errors.KernelTimeoutError, match="a line of the event stream was not complete"):
                connect(server).events(requests.follow_invocation("abc", since="2h"), idle_timeout=0.3)
            assert time.monotonic() - started < 5

    def test_stream_may_last_longer_than_a_request(self, connect):
        def answer(server, client, number):
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            for _ in range(20):
                server.drip(client, b"data: x\n\n", every=0.005)
            return False

        with Server(answer) as server:
            patient = connect(server, connect_timeout=0.05, read_timeout=0.1)
            events = patient.events(requests.follow_invocation("abc", since="2h"), idle_timeout=5)
            assert len(events) == 20


class TestNoConnection:
    @pytest.mark.skipif(sys.platform != "linux", reason="a full backlog is silent on Linux only")
    def test_connect_timeout_counts_as_not_sent_so_that_a_create_is_resent(self, connect):
        class Full:
            def __init__(self):
                self.socket = socket.create_server(("127.0.0.1", 0), backlog=0)
                self.address = self.socket.getsockname()
                self.base_url = "http://{}:{}".format(*self.address)
                self.waiting = []
                for _ in range(8):
                    waiting = socket.socket()
                    waiting.setblocking(False)
                    waiting.connect_ex(self.address)
                    self.waiting.append(waiting)

            def close(self):
                for sock in [self.socket, *self.waiting]:
                    sock.close()

        full = Full()
        try:
            client = connect(full, connect_timeout=0.05, retry=RetryPolicy(max_attempts=3, base_seconds=0))
            with pytest.raises(errors.KernelTimeoutError, match="no connection in time") as caught:
                client.run(flows.start_invocation(CREATE))
        finally:
            full.close()
        assert not caught.value.sent
        assert caught.value.attempts.times == 3

    def test_unresolved_host_name_counts_as_not_sent(self, connect, monkeypatch):
        class Nowhere:
            base_url = "http://api.nowhere.invalid"

        def fail(*args, **kwargs):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", fail)
        client = connect(Nowhere)
        with pytest.raises(errors.KernelConnectionError, match="cannot be resolved") as caught:
            client.run(flows.start_invocation(CREATE))
        assert (caught.value.sent, caught.value.problem) == (False, ConnectionProblem.NAME)
        assert caught.value.attempts.times == 5

    def test_server_without_tls_is_not_retried(self, connect):
        def answer(server, client, number):
            raise AssertionError("no request can come")

        with Server(answer) as server:

            class Https:
                base_url = server.base_url.replace("http:", "https:")

            # The server waits for the end of a head, which the first bytes of TLS do not hold.
            server.handle = lambda client: client.recv(100) and client.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
            with pytest.raises(errors.KernelConnectionError) as caught:
                connect(Https).send(GET)
        assert (caught.value.sent, caught.value.problem) == (False, ConnectionProblem.NO_TLS)
        assert f"write {Https.base_url.replace('https:', 'http:')} as the host" in str(caught.value)
        assert caught.value.attempts.times == server.connections == 1


class TestTheCaps:
    @pytest.mark.parametrize("attempts", [1, 2, 7])
    @pytest.mark.parametrize("trouble", ["500", "429", "dropped before processing"])
    def test_retries_stop_at_the_number_of_attempts(self, connect, kernel_emulator, trouble, attempts):
        client = connect(kernel_emulator, retry=RetryPolicy(max_attempts=attempts))
        kernel_emulator.add_fault(troubles.fault_of(trouble, "*", "*", None))
        with pytest.raises(errors.KernelError) as caught:
            client.send(GET)
        assert len(kernel_emulator.journal) == attempts
        assert len(client.waits) == attempts - 1
        assert caught.value.attempts.times == attempts
        assert f"({attempts} attempt{'s' if attempts > 1 else ''} in 0." in str(caught.value)

    def test_retries_stop_at_the_total_time(self, connect, kernel_emulator):
        policy = RetryPolicy(max_attempts=50, max_seconds=0.5, base_seconds=0)
        client = connect(kernel_emulator, read_timeout=0.1, retry=policy)
        fault = kernel_emulator.add_fault(Fault("*", "*", None, hold=True))
        started = time.monotonic()
        with pytest.raises(errors.KernelTimeoutError) as caught:
            client.send(GET)
        took = time.monotonic() - started
        fault.release()
        tried = caught.value.attempts
        assert 2 <= tried.times == len(kernel_emulator.journal) <= 6
        assert 0.5 <= tried.seconds <= took < 5
        assert f"({tried.times} attempts in {tried.seconds:.1f} s, " in str(caught.value)

    def test_total_time_of_retries_includes_the_first_attempt(self, connect, kernel_emulator):
        policy = RetryPolicy(max_attempts=50, max_seconds=0.2, base_seconds=0)
        client = connect(kernel_emulator, read_timeout=0.3, retry=policy)
        fault = kernel_emulator.add_fault(Fault("*", "*", None, hold=True))
        with pytest.raises(errors.KernelTimeoutError) as caught:
            client.send(GET)
        fault.release()
        assert caught.value.attempts.times == len(kernel_emulator.journal) == 1
        assert caught.value.attempts.seconds >= 0.3

    def test_retry_sleep_past_the_total_time_is_not_begun(self, connect, kernel_emulator):
        client = connect(kernel_emulator, retry=RetryPolicy(max_seconds=30))
        kernel_emulator.add_fault(Fault("*", "*", None, status=429, headers={"Retry-After": "31"}))
        with pytest.raises(errors.KernelRateLimitError) as caught:
            client.run(flows.start_invocation(CREATE))
        assert client.waits == []
        assert caught.value.retry_after == 31
        assert "(1 attempt in 0." in str(caught.value)

    def test_retry_sleeps_grow_up_to_their_cap(self, connect, kernel_emulator):
        client = connect(kernel_emulator, retry=RetryPolicy(max_attempts=40, base_seconds=0.5, cap_seconds=3))
        kernel_emulator.add_fault(Fault("*", "*", None, status=500))
        with pytest.raises(errors.KernelServerError):
            client.send(GET)
        assert all(0 <= wait <= min(3, 0.5 * 2**n) for n, wait in enumerate(client.waits, start=1))
        assert max(client.waits) > 1.5
        assert len(set(client.waits)) > 30


class TestRetryAfter:
    def waits(self, connect, kernel_emulator, value, times=1):
        client = connect(kernel_emulator, retry=RetryPolicy(max_seconds=120, base_seconds=0.5))
        kernel_emulator.add_fault(Fault("*", "*", range(1, times + 1), status=503, headers={"Retry-After": value}))
        client.run(flows.start_invocation(CREATE))
        assert len(kernel_emulator.invocations) == 1
        return client.waits

    @pytest.mark.parametrize("seconds", [0, 1, 61, 100])
    def test_retry_after_is_a_floor_with_jitter_on_top(self, connect, kernel_emulator, seconds):
        waits = self.waits(connect, kernel_emulator, str(seconds), times=3)
        assert len(waits) == 3
        assert all(seconds <= wait <= max(seconds, 2**n) + 0.5 for n, wait in enumerate(waits))
        assert len(set(waits)) == 3

    def test_retry_after_may_be_a_date(self, connect, kernel_emulator):
        when = datetime.now(timezone.utc) + timedelta(seconds=40)
        (wait,) = self.waits(connect, kernel_emulator, format_datetime(when, usegmt=True))
        assert 30 < wait < 43  # the server renews its Date once a second

    def test_retry_after_with_a_past_date_does_not_shorten_the_waits(self, connect, kernel_emulator):
        (wait,) = self.waits(connect, kernel_emulator, "Wed, 21 Oct 2015 07:28:00 GMT")
        assert 0 <= wait <= 1.5

    @pytest.mark.parametrize(
        "value", ["", "soon", "-5", "1e3", "nan", "inf", ".", "\xb2", "Wed, 99 Foo 99999 99:99:99 +9999", "1,2"]
    )
    def test_retry_after_that_cannot_be_parsed_is_ignored(self, connect, kernel_emulator, value):
        client = connect(kernel_emulator)
        kernel_emulator.add_fault(Fault("*", "*", (1, 2), status=429, headers={"Retry-After": value}))
        client.run(flows.start_invocation(CREATE))
        assert len(client.waits) == 2
        assert all(math.isfinite(wait) and 0 <= wait <= 0.005 for wait in client.waits)

    def test_retry_after_beyond_the_total_time_ends_the_retries(self, client, kernel_emulator):
        kernel_emulator.add_fault(Fault("*", "*", None, status=429, headers={"Retry-After": "9" * 400}))
        with pytest.raises(errors.KernelRateLimitError):
            client.send(GET)
        assert client.waits == []
