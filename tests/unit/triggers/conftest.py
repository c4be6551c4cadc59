from __future__ import annotations

import asyncio
import json
import logging

import pytest
from support.dag_callbacks import ownership
from support.invocation_trigger import ANY
from support.triggerer import Triggerer, task_instance

from airflow_provider_kernel.client.client import AsyncKernelClient, KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.resources.invocations import requests
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle import trigger as owning_trigger
from airflow_provider_kernel.triggers._polling.shared_poller import _pollers
from airflow_provider_kernel.triggers.invocation import KernelInvocationTrigger


@pytest.fixture
def log(monkeypatch, caplog):
    """What triggers wrote into their tasks' logs: level and text."""
    monkeypatch.setattr(KernelInvocationTrigger, "_log", logging.getLogger("kernel_trigger"))
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


@pytest.fixture
def changes(kernel_emulator):
    """The requests that change something: method and path."""
    return lambda: [(r.method, r.path) for r in kernel_emulator.journal if r.method in ("PATCH", "DELETE")]


@pytest.fixture
def assert_cancelled(kernel_emulator, changes):
    """Assert that one cancel was sent and nothing else: fetch, then status, then browsers."""

    def assert_cancelled(invocation_id):
        path = f"/invocations/{invocation_id}"
        assert changes() == [("PATCH", path), ("DELETE", f"{path}/browsers")]
        (patch,) = kernel_emulator.requests("PATCH")
        assert patch.json["status"] == "failed"
        assert json.loads(patch.json["output"]) == {"error": "The Airflow task was killed"}
        asked = [(r.method, r.path) for r in kernel_emulator.journal]
        assert asked[asked.index(("PATCH", path)) - 1] == ("GET", path)
        assert kernel_emulator.invocation(invocation_id).status == "failed"
        assert kernel_emulator.invocation(invocation_id).browsers == 0

    return assert_cancelled


@pytest.fixture
def waits(kernel_emulator, start, triggerer, supervisor):
    """Start a trigger that waits for an invocation with a browser; return its task and the invocation's id."""

    async def waits(*, ti=None, polls=1, **arguments):
        invocation_id = start("browsers", count=1, seconds=600)
        kernel_emulator.wait_until(lambda: kernel_emulator.invocation(invocation_id).browsers == 1)
        ti = ti or task_instance()
        mapped = ti.map_index >= 0
        supervisor.states[f"{ti.task_id}_{ti.map_index}" if mapped else ti.task_id] = "deferred"
        supervisor.xcoms[ti.task_id, ti.map_index, "kernel_invocation_owner"] = ownership(invocation_id)
        trigger = KernelInvocationTrigger(
            invocation_id=invocation_id, **{"poll_interval": 3600, "stream_logs": False, **arguments}
        )
        task = await triggerer.start(trigger, ti)
        before = len(kernel_emulator.requests("GET", ANY))
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", ANY, before + polls)
        return task, invocation_id

    return waits


@pytest.fixture
def stale_answer():
    """An answer to a poll that lags behind."""

    def stale_answer(invocation_id, status):
        answer = {"id": invocation_id, "status": status, "app_name": "demo", "action_name": "hang"}
        return {**answer, "version": "latest", "started_at": "2026-01-01T00:00:00Z"}

    return stale_answer
