"""Connections are kept, used again, given back and closed; one that was dropped while idle harms nobody."""

from __future__ import annotations

import asyncio
import ssl
from types import SimpleNamespace

import httpx
import pytest
from contract.wire import Relay, Server, ok

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.client import AsyncKernelClient, KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.http import transport
from airflow_provider_kernel.client.resources.auth import get_auth_context
from airflow_provider_kernel.client.resources.invocations import flows, requests
from airflow_provider_kernel.testing import Fault

GET = requests.get_invocation("abc")
CREATE = requests.create_invocation("demo", "hang")
#: Nothing is sent there.
HTTPS = SimpleNamespace(base_url="https://kernel.example")


@pytest.fixture
def relay(kernel_emulator):
    with Relay(kernel_emulator.port) as relay:
        yield relay


@pytest.fixture
def relayed(connect, relay):
    return connect(relay)


class TestReuse:
    def test_connection_is_reused_by_all_calls(self, relayed, relay, kernel_emulator):
        kernel_emulator.add_fault(Fault("GET", "/auth/context", (1, 2, 3), status=503))
        started = relayed.run(flows.start_invocation(CREATE))
        for _ in range(10):
            relayed.send(requests.get_invocation(started.id))
        relayed.send(get_auth_context())
        with pytest.raises(errors.KernelNotFoundError):
            relayed.send(requests.get_invocation("nobody"))
        relayed.pages(requests.list_invocations(limit=1))
        relayed.run(flows.cancel_invocation(started.id, "enough"))
        assert len(kernel_emulator.journal) == 20
        assert relay.connections == 1

    def test_concurrent_calls_get_a_connection_each_and_leave_it_for_reuse(
        self, connect, relayed, relay, kernel_emulator
    ):
        # Slow enough that none is done before the last has begun.
        kernel_emulator.add_fault(Fault("GET", "/auth/context", range(1, 5), delay_answer=0.1))
        for _ in range(3):
            answers = connect.at_once(*[(relayed, get_auth_context())] * 4)
            assert [answer.organization.id for answer in answers] == ["org_emulator"] * 4
        assert relay.connections == 4

    @pytest.mark.parametrize("over_limit", [False, True], ids=["read timeout", "body over the limit"])
    def test_connection_of_an_abandoned_response_is_closed(
        self, connect, relay, kernel_emulator, monkeypatch, over_limit
    ):
        monkeypatch.setattr("airflow_provider_kernel.client.http.response_body.MAX_RESPONSE_BYTES", 1000)
        client = connect(relay, read_timeout=10 if over_limit else 0.05)
        trouble = {"status": 200, "body": b"x" * 1_000_000} if over_limit else {"hold": True}
        fault = kernel_emulator.add_fault(Fault("GET", "/invocations/*", None, **trouble))
        with pytest.raises(errors.KernelError):
            client.send(GET)
        relay.wait_until_open(0)
        fault.release()


def test_cookies_are_not_kept(connect):
    def answer(server, client, number):
        body = b'{"id": "abc", "status": "running"}'
        client.sendall(ok(body).replace(b"\r\n", b"\r\nSet-Cookie: a=b; Path=/; Domain=127.0.0.1\r\n", 1))
        return True

    with Server(answer) as server:
        client = connect(server)
        for _ in range(2):
            client.send(GET)
        assert list(client._client._http.cookies.jar) == []
        assert [b"cookie" in head.lower() for head in server.requests] == [False, False]


class TestClose:
    def test_close_closes_the_connections(self, relayed, relay):
        relayed.send(get_auth_context())
        relay.wait_until_open(1)
        relayed.close()
        relay.wait_until_open(0)

    def test_close_may_be_called_twice_on_an_unused_client(self, relayed, relay):
        relayed.close()
        relayed.close()
        assert relay.connections == 0

    def test_with_block_closes_the_client(self, connect, relay):
        config = KernelConfig("sk-emulator", relay.base_url)
        if connect.kind == "sync":
            with KernelClient(config) as client:
                client.send(get_auth_context())
                relay.wait_until_open(1)
            relay.wait_until_open(0)
            return

        async def use():
            async with AsyncKernelClient(config) as client:
                await client.send(get_auth_context())
                await asyncio.to_thread(relay.wait_until_open, 1)
            await asyncio.to_thread(relay.wait_until_open, 0)

        asyncio.run(use())


class TestTls:
    @pytest.fixture
    def loaded(self, monkeypatch):
        """Count how often certificates are loaded."""
        transport._tls_context.cache_clear()
        loaded = []
        make, make_httpx = ssl.create_default_context, httpx.create_ssl_context
        monkeypatch.setattr(ssl, "create_default_context", lambda *a, **k: loaded.append("ssl") or make(*a, **k))
        monkeypatch.setattr(
            httpx, "create_ssl_context", lambda *a, **k: loaded.append("httpx") or make_httpx(*a, **k)
        )
        yield loaded
        transport._tls_context.cache_clear()

    def test_tls_certificates_are_loaded_once_for_many_clients(self, connect, loaded):
        for number in range(5):
            connect(HTTPS, api_key=f"sk-test-{number}")
        assert loaded.count("httpx") == 1
        assert loaded.count("ssl") <= 1

    def test_tls_certificates_are_not_loaded_for_http(self, connect, kernel_emulator, loaded):
        connect(kernel_emulator)
        assert loaded == []

    def test_tls_context_depends_on_verify_tls(self, connect, loaded):
        for _ in range(3):
            connect(HTTPS)
            connect(HTTPS, verify_tls=False)
        assert loaded.count("httpx") == 2


class TestDroppedWhileIdle:
    """The server hangs up between two calls, as load balancers do after a minute, or it restarts."""

    @pytest.fixture(params=["cut", "restart"])
    def idle(self, request, connect, relay, kernel_emulator):
        """A client whose only connection was dropped while nothing went over it."""
        client = connect(relay if request.param == "cut" else kernel_emulator)
        client.send(get_auth_context())
        if request.param == "cut":
            assert relay.connections == 1
            relay.cut()
        else:
            with kernel_emulator.outage():
                pass
        return client

    def test_get_over_a_dropped_idle_connection_uses_a_new_one(self, idle, kernel_emulator, running):
        assert idle.send(requests.get_invocation(running)).status == "running"
        assert idle.waits == []
        assert len(kernel_emulator.requests("GET", "/invocations/*")) == 1

    def test_update_over_a_dropped_idle_connection_uses_a_new_one(self, idle, kernel_emulator, running):
        idle.run(flows.update_invocation(running, "succeeded", 1))
        assert kernel_emulator.invocation(running).output_json == 1
        assert len(kernel_emulator.requests("PATCH")) == 1

    def test_create_over_a_dropped_idle_connection_is_sent_once(self, idle, kernel_emulator):
        started = idle.run(flows.start_invocation(CREATE))
        assert len(kernel_emulator.requests("POST")) == 1
        assert [run.id for run in kernel_emulator.invocations] == [started.id]


class TestDroppedJustWhenARequestComes:
    """The same, noticed too late: the request is out, and nobody can tell whether it was taken."""

    @pytest.fixture(params=["before", "after"])
    def drop(self, request, relayed, relay, kernel_emulator):
        relayed.send(get_auth_context())
        assert relay.connections == 1
        return lambda method: kernel_emulator.add_fault(Fault(method, "*", 1, drop=request.param))

    def test_get_is_resent_when_its_reused_connection_drops(self, drop, relayed, relay, kernel_emulator):
        drop("GET")
        assert relayed.send(get_auth_context()).organization.id == "org_emulator"
        assert len(kernel_emulator.requests("GET")) == 3
        assert relay.connections == 2

    def test_update_is_resent_when_its_reused_connection_drops(self, drop, relayed, kernel_emulator, running):
        drop("PATCH")
        relayed.run(flows.update_invocation(running, "failed", 1))
        assert kernel_emulator.invocation(running).statuses.count("failed") == 1
        assert len(kernel_emulator.requests("PATCH")) == 2

    def test_create_is_not_resent_when_its_reused_connection_drops(self, drop, relayed, kernel_emulator):
        fault = drop("POST")
        with pytest.raises(errors.KernelAmbiguousStartError):
            relayed.run(flows.start_invocation(CREATE))
        assert len(kernel_emulator.requests("POST")) == 1
        assert len(kernel_emulator.invocations) == (1 if fault.drop == "after" else 0)


def test_server_may_close_the_connection_after_every_response(connect):
    def answer(server, client, number):
        client.sendall(ok(b'{"id": "abc", "status": "running"}'))
        return False  # without a word about it in the headers

    with Server(answer) as server:
        client = connect(server)
        for expected in range(1, 6):
            assert client.send(GET).status == "running"
            server.wait_until_open(0)
            assert server.connections == expected
        assert client.run(flows.start_invocation(CREATE)).id == "abc"
        assert client.waits == []
        assert len(server.requests) == 6
