"""The clients of a hook: one for all its calls, on every thread; a new one for each event loop."""

from __future__ import annotations

import copy
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from airflow.sdk import BaseHook
from contract.wire import Relay

from airflow_provider_kernel.client.client import AsyncKernelClient, KernelClient
from airflow_provider_kernel.client.resources.apps import list_apps
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.testing import Fault


def test_hook_uses_one_client_for_all_calls(hook):
    client = hook.get_conn()
    assert isinstance(client, KernelClient)
    list(hook.list_apps())
    list(hook.list_invocations())
    assert hook.get_conn() is client


def test_closed_hook_creates_a_new_client_when_used_again(hook):
    first = hook.get_conn()
    hook.close()
    with pytest.raises(RuntimeError, match="closed"):
        list(first.pages(list_apps()))
    assert list(hook.list_apps())
    assert hook.get_conn() is not first


def test_with_block_closes_the_client_of_the_hook(kernel, connect):
    connect(host=kernel.base_url)
    with KernelHook("my_kernel") as hook:
        client = hook.get_conn()
    with pytest.raises(RuntimeError, match="closed"):
        list(client.pages(list_apps()))


def test_unused_hook_can_be_closed_twice():
    hook = KernelHook("nowhere")
    hook.close()
    hook.close()


def test_concurrent_threads_share_one_client_and_one_connection_lookup(kernel, connect, monkeypatch):
    connect(host=kernel.base_url)
    get_connection, lookups = BaseHook.get_connection, []
    second = threading.Barrier(2)

    def wait_for_a_second_lookup(conn_id):
        lookups.append(conn_id)
        with suppress(threading.BrokenBarrierError):
            second.wait(0.3)
        return get_connection(conn_id)

    monkeypatch.setattr(KernelHook, "get_connection", staticmethod(wait_for_a_second_lookup))
    with KernelHook("my_kernel") as hook, ThreadPoolExecutor(8) as threads:
        clients = set(threads.map(lambda _: hook.get_conn(), range(8)))
    assert len(clients) == 1
    assert lookups == ["my_kernel"]


def test_hook_serves_concurrent_threads_and_reuses_their_connections(kernel, connect):
    with Relay(kernel.port) as relay, ThreadPoolExecutor(16) as threads:
        connect(host=relay.base_url)
        with KernelHook("my_kernel") as hook:
            ids = list(threads.map(lambda _: hook.invoke("demo", "hang").id, range(64)))
            ended = list(threads.map(hook.complete_invocation, ids, range(64)))
        assert [invocation.id for invocation in ended] == ids
        assert [kernel.invocation(id_).output_json for id_ in ids] == list(range(64))
        assert relay.connections <= 16


def test_hook_can_be_deep_copied():
    assert copy.deepcopy(KernelHook("my_kernel")).kernel_conn_id == "my_kernel"


def test_hook_waits_with_its_sleep_function(kernel, connect):
    slept = []
    connect(host=kernel.base_url)
    kernel.add_fault(Fault("GET", "/apps", status=503, headers={"Retry-After": "7"}))
    with KernelHook("my_kernel", sleep=slept.append) as hook:
        assert list(hook.list_apps())
    assert len(slept) == 1
    assert 7 <= slept[0] <= 7.5


async def test_async_client_of_the_hook_belongs_to_its_caller(hook):
    async with await hook.get_async_conn() as first, await hook.get_async_conn() as second:
        assert isinstance(first, AsyncKernelClient)
        assert first is not second
        assert first.config is hook.config
        assert [app.app_name async for app in first.pages(list_apps())] == ["demo"]


@pytest.mark.needs_airflow("3.3", "before, Airflow's own lookup does, to mask what it found")
async def test_async_connection_lookup_does_not_block_the_event_loop(connect, monkeypatch):
    def wait(*args, **options):
        raise AssertionError("a blocking call in the event loop")

    monkeypatch.setattr(KernelHook, "get_connection", wait)
    # Connection.extra_dejson calls it; in a task or the triggerer it blocks on the supervisor.
    monkeypatch.setattr("airflow.sdk.log.mask_secret", wait)
    connect(extra={"project": "shop"})
    assert (await KernelHook("my_kernel").aget_config()).project == "shop"
