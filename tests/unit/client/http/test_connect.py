"""A thread connects to a host: one timeout for all its addresses, and the first that answers is used."""

from __future__ import annotations

import socket
import time

import pytest

from airflow_provider_kernel.client.client import KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.errors import KernelTimeoutError
from airflow_provider_kernel.client.http.connect import connect_to_any
from airflow_provider_kernel.client.resources.auth import get_auth_context
from airflow_provider_kernel.client.retry import RetryPolicy


@pytest.fixture
def silent():
    """An address that never answers: its backlog is full."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = []
    for _ in range(8):
        waiting.append(socket.socket())
        waiting[-1].setblocking(False)
        waiting[-1].connect_ex(listening.getsockname())
    yield listening.getsockname()
    for sock in (listening, *waiting):
        sock.close()


@pytest.fixture
def refusing():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return closed.getsockname()


@pytest.fixture
def answering():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()


@pytest.fixture
def resolve(monkeypatch):
    """Let every name have these addresses."""

    def resolve(*addresses):
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: found)

    return resolve


def test_timeout_is_for_all_addresses_together(resolve, silent):
    resolve(*[silent] * 8)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        connect_to_any("kernel.test", 80, 0.1)
    assert time.monotonic() - began < 0.5


def test_timeout_of_a_client_is_for_all_addresses_together(resolve, silent):
    resolve(*[silent] * 8)
    config = KernelConfig(
        "sk-0123456789", "http://kernel.test", connect_timeout=0.1, retry=RetryPolicy(max_attempts=1)
    )
    began = time.monotonic()
    with KernelClient(config) as client, pytest.raises(KernelTimeoutError, match="no connection in time") as caught:
        client.send(get_auth_context())
    assert time.monotonic() - began < 0.5
    assert not caught.value.sent


def test_silent_address_does_not_hide_one_that_answers(resolve, silent, answering):
    resolve(silent, answering)
    with connect_to_any("kernel.test", 80, 5) as sock:
        assert sock.getpeername() == answering


def test_refused_address_is_followed_by_the_next_at_once(resolve, refusing, answering):
    resolve(*[refusing] * 20, answering)
    with connect_to_any("kernel.test", 80, 2) as sock:
        assert sock.getpeername() == answering


def test_failure_of_all_addresses_is_the_last_one(resolve, refusing):
    resolve(refusing, refusing)
    with pytest.raises(ConnectionRefusedError):
        connect_to_any("kernel.test", 80, 5)


def test_host_without_an_address_fails(resolve):
    resolve()
    with pytest.raises(OSError, match="no address"):
        connect_to_any("kernel.test", 80, 5)
