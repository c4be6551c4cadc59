"""A client, or a hook, that was used before ``fork()``: the child has connections and locks of its own."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from airflow.sdk import BaseHook
from contract.wire import Relay
from support.certificate import server_context, write_certificate
from support.forked import fork

from airflow_provider_kernel.client.client import AsyncKernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.http.concurrency import MAX_CONCURRENT_REQUESTS
from airflow_provider_kernel.client.resources.apps import list_apps
from airflow_provider_kernel.client.resources.invocations.requests import get_invocation
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.testing import Fault


class TLSRelay(Relay):
    """A relay with a certificate of its own."""

    def __init__(self, port, directory):
        super().__init__(port)
        self.certificate = write_certificate(directory)
        self._context = server_context(self.certificate)

    @property
    def base_url(self):
        return super().base_url.replace("http:", "https:")

    def handle(self, client):
        super().handle(self._context.wrap_socket(client, server_side=True))


@pytest.fixture
def relay(kernel_emulator):
    with Relay(kernel_emulator.port) as relay:
        yield relay


@pytest.fixture
def define_connection(kernel_emulator, monkeypatch):
    def define(server, **extra):
        connection = {**json.loads(kernel_emulator.airflow_connection), "host": server.base_url, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", json.dumps(connection))

    return define


@pytest.fixture
def hook(define_connection, relay):
    define_connection(relay)
    with KernelHook() as hook:
        yield hook


def test_parent_and_child_each_get_the_answers_to_their_own_requests(hook, relay):
    theirs, ours = ([hook.invoke("demo", "hang").id for _ in range(20)] for _ in range(2))
    assert relay.connections == 1
    in_child = fork(lambda: [hook.get_invocation(id_).id for id_ in theirs])
    assert [hook.get_invocation(id_).id for id_ in ours] == ours
    assert in_child() == theirs
    assert relay.connections == 2


def test_child_reads_a_connection_that_a_thread_of_the_parent_waits_for(hook, monkeypatch):
    get_connection, asked, forked = BaseHook.get_connection, threading.Event(), threading.Event()

    def wait(conn_id):
        asked.set()
        forked.wait(20)
        return get_connection(conn_id)

    monkeypatch.setattr(KernelHook, "get_connection", staticmethod(wait))
    thread = threading.Thread(target=hook.get_conn)
    thread.start()
    assert asked.wait(5)
    in_child = fork(lambda: (forked.set(), len(list(hook.list_apps())))[1])
    forked.set()
    thread.join()
    assert in_child() == len(list(hook.list_apps()))


@pytest.mark.parametrize("closes_first", [False, True], ids=["used by the child", "closed by the child"])
def test_child_that_closes_a_hook_leaves_the_tls_connection_of_its_parent_open(
    closes_first, define_connection, kernel_emulator, tmp_path
):
    with TLSRelay(kernel_emulator.port, tmp_path) as relay:
        define_connection(relay, verify_tls=str(relay.certificate))
        with KernelHook() as hook:
            list(hook.list_apps())

            def use_and_close():
                if not closes_first:
                    list(hook.list_apps())
                hook.close()

            fork(use_and_close)()
            connections = relay.connections
            assert list(hook.list_apps())
            assert relay.connections == connections == 1 + (not closes_first)


def test_log_that_is_being_followed_goes_on_in_both_processes(hook, relay, kernel_emulator):
    go = threading.Event()

    def talk(ctx):
        ctx.log("before")
        go.wait(20)
        ctx.log("after")

    kernel_emulator.register("own", "talk", talk)
    lines = (line.message for line in hook.follow_invocation(hook.invoke("own", "talk").id))
    assert next(lines) == "before"
    connections = relay.open
    in_child = fork(lambda: list(lines))
    relay.wait_until_open(connections + 1)
    go.set()
    assert list(lines) == in_child() == ["after"]


class TestEventLoop:
    def test_child_has_connections_and_slots_of_its_own(self, kernel_emulator, relay):
        kernel_emulator.add_fault(Fault("GET", "/invocations/*", nth=None, delay_answer=0.5))

        async def list_and_close(client):
            apps = [app.app_name async for app in client.pages(list_apps())]
            await client.close()
            return apps

        async def main():
            config = KernelConfig("sk-emulator", relay.base_url)
            async with AsyncKernelClient(config) as client:
                await client.send(list_apps())
                waiting = [
                    asyncio.create_task(client.send(get_invocation(f"i{n}")))
                    for n in range(MAX_CONCURRENT_REQUESTS)
                ]
                await asyncio.to_thread(kernel_emulator.wait_for, "GET", "/invocations/*")
                in_child = fork(lambda: asyncio.run(list_and_close(client)))
                answers = await asyncio.gather(*waiting, return_exceptions=True)
                return await asyncio.to_thread(in_child), {type(answer).__name__ for answer in answers}

        assert asyncio.run(main()) == (["demo"], {"KernelNotFoundError"})
