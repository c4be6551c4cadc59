from __future__ import annotations

import asyncio
import logging

import pytest
from support.triggerer import Supervisor, Triggerer

from airflow_provider_kernel.client.client import AsyncKernelClient, KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.resources.invocations import requests
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle import trigger as owning_trigger
from airflow_provider_kernel.triggers import invocation
from airflow_provider_kernel.triggers._polling.shared_poller import _pollers


@pytest.fixture
def supervisor(monkeypatch):
    """What Airflow says."""
    from airflow.sdk.execution_time import task_runner

    supervisor = Supervisor()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    return supervisor


@pytest.fixture
def log(monkeypatch, caplog):
    """What triggers wrote into their tasks' logs: level and text."""
    monkeypatch.setattr(invocation.KernelInvocationTrigger, "_log", logging.getLogger("kernel_trigger"))
    caplog.set_level(logging.INFO, "kernel_trigger")
    return lambda: [(r.levelname, r.getMessage()) for r in caplog.records if r.name == "kernel_trigger"]


@pytest.fixture
def lines(log):
    """The invocation's lines among them."""
    return lambda: [text.removeprefix("kernel | ") for _, text in log() if text.startswith("kernel | ")]


@pytest.fixture
def clients(monkeypatch):
    """Every client for an event loop that is made, in order."""
    made = []
    init = AsyncKernelClient.__init__

    def counted(self, *args, **kwargs):
        init(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(AsyncKernelClient, "__init__", counted)
    return made


@pytest.fixture(autouse=True)
async def nothing_is_left(clients):
    """However a trigger ends, none of its tasks runs on, and its client and connections are closed."""
    before = asyncio.all_tasks() | {None}
    yield
    if left := asyncio.all_tasks() - before - {asyncio.current_task()}:
        _, left = await asyncio.wait(left, timeout=5)
    assert not left
    assert not owning_trigger._ends
    assert not _pollers
    assert all(client._http.is_closed for client in clients)
    assert [client._http._transport._pool.connections for client in clients] == [[]] * len(clients)


@pytest.fixture
def triggerer(supervisor):
    return Triggerer()


@pytest.fixture
def start(kernel_emulator):
    """Start an invocation of an action, and give its id."""

    def start(action="hang", **payload):
        with KernelClient(KernelConfig(kernel_emulator.api_key, kernel_emulator.base_url)) as client:
            return client.send(requests.create_invocation("demo", action, payload=payload)).id

    return start


@pytest.fixture
def reads(monkeypatch):
    """The ids of the connections that were read; reading one in a way that blocks is an error."""
    read = []
    aget_connection = KernelHook.aget_connection

    async def counted(conn_id):
        read.append(conn_id)
        return await aget_connection(conn_id)

    def refused(conn_id):
        raise AssertionError(f"{conn_id} was read in a way that blocks")

    monkeypatch.setattr(KernelHook, "aget_connection", staticmethod(counted))
    monkeypatch.setattr(KernelHook, "get_connection", staticmethod(refused))
    return read
