"""The trigger, run from its row by Airflow's own ``TriggerRunner``, against the emulator."""

import asyncio
import json
import time
from types import SimpleNamespace
from unittest import mock

import pytest
from support.invocation_trigger import (
    ANY,
    EVENTS,
    row,
)
from support.triggerer import task_instance

from airflow_provider_kernel.client.client import AsyncKernelClient
from airflow_provider_kernel.client.http.concurrency import MAX_CONCURRENT_REQUESTS
from airflow_provider_kernel.testing import Fault
from airflow_provider_kernel.triggers._polling import SharedPoller
from airflow_provider_kernel.triggers.invocation import KernelInvocationTrigger

pytestmark = pytest.mark.usefixtures("kernel_connection", "supervisor")


@pytest.mark.parametrize("status", ["succeeded", "failed"])
@pytest.mark.parametrize("stream_logs", [False, True])
async def test_trigger_sends_one_event_at_the_end_and_changes_nothing(
    status, stream_logs, start, triggerer, kernel_emulator, changes
):
    invocation_id = start()
    task = await triggerer.start(row(invocation_id=invocation_id, stream_logs=stream_logs))
    await asyncio.to_thread(kernel_emulator.wait_for, "GET", ANY)
    kernel_emulator.finish(invocation_id, status, {"secret": "output"})
    await task
    assert triggerer.events == [{"invocation_id": invocation_id, "status": "finished"}]
    assert changes() == []


@pytest.fixture
def no_short_waits(monkeypatch):
    monkeypatch.setattr("airflow_provider_kernel.client.resources.invocations.wait._FIRST_SECONDS", 3600)


async def test_end_in_the_stream_ends_the_wait(no_short_waits, start, triggerer, kernel_emulator, changes):
    invocation_id = start()
    task = await triggerer.start(row(invocation_id=invocation_id, stream_logs=True, poll_interval=3600))
    await asyncio.to_thread(kernel_emulator.wait_for, "GET", ANY)
    await asyncio.to_thread(kernel_emulator.wait_for, "GET", EVENTS)
    kernel_emulator.finish(invocation_id)
    await task
    assert triggerer.events == [{"invocation_id": invocation_id, "status": "finished"}]
    assert len(kernel_emulator.requests("GET", ANY)) == 2
    assert changes() == []


async def test_end_in_the_stream_that_polls_do_not_confirm_causes_one_poll_only(
    no_short_waits, start, triggerer, kernel_emulator, stale_answer
):
    """The polls after the stream's event still say "running": no reason to poll without a pause."""
    invocation_id = start("echo")
    kernel_emulator.wait_for_status(invocation_id, "succeeded")
    kernel_emulator.add_fault(Fault("GET", ANY, nth=None, body=stale_answer(invocation_id, "running")))
    arguments = {"stream_logs": True, "poll_interval": 3600, "deadline": time.time() + 0.5, "cancel_on_kill": False}
    await (await triggerer.start(row(invocation_id=invocation_id, **arguments)))
    assert triggerer.events == [
        {"invocation_id": invocation_id, "status": "timeout", "ended": False, "deadline": mock.ANY, "limit": None}
    ]
    assert len(kernel_emulator.requests("GET", ANY)) == 3  # at first, after the stream's event, at the deadline


@pytest.fixture
def error(start, triggerer, changes, kernel_emulator):
    async def error(*, ends_nothing, **arguments):
        await (await triggerer.start(row(**{"invocation_id": start(), **arguments})))
        (event,) = triggerer.events
        assert event.pop("invocation_id")
        assert event.pop("status") == "error"
        assert event.pop("ends_nothing") is ends_nothing
        assert changes() == []
        assert kernel_emulator.api_key not in json.dumps(event)
        return event["error"]

    return error


@pytest.mark.usefixtures("refused_key_ends_waits_soon")
async def test_revoked_key_sends_an_error_without_the_key(error, kernel_emulator):
    body = {"code": "unauthorized", "message": f"the key {kernel_emulator.api_key} is revoked"}
    kernel_emulator.add_fault(Fault("GET", ANY, nth=None, status=401, body=body))
    text = await error(ends_nothing=True)
    assert text.startswith("KernelLostContactError: No access to invocation ")
    assert "401 unauthorized" in text


async def test_invocation_that_never_appears_sends_an_error(error, kernel_emulator, monkeypatch):
    monkeypatch.setattr("airflow_provider_kernel.client.outage.NOT_FOUND_GRACE_SECONDS", 0.0)
    kernel_emulator.add_fault(Fault("GET", ANY, nth=None, status=404))
    assert (await error(ends_nothing=False)).startswith("KernelNotFoundError: ")


@pytest.mark.parametrize("answer", [{"status": 404}, {"status": 520}, {"status": 400}], ids=str)
async def test_invocation_that_cannot_be_read_for_a_while_is_waited_for(answer, start, triggerer, kernel_emulator):
    invocation_id = start()
    kernel_emulator.add_fault(Fault("GET", ANY, nth=range(2, 6), **answer))
    kernel_emulator.finish(invocation_id)
    await (await triggerer.start(row(invocation_id=invocation_id, was_seen=True)))
    assert triggerer.events == [{"invocation_id": invocation_id, "status": "finished"}]


async def test_unknown_invocation_sends_an_error(error):
    assert (await error(ends_nothing=False, invocation_id="nobody", is_new=False)).startswith(
        "KernelNotFoundError: "
    )


@pytest.mark.usefixtures("refused_key_ends_waits_soon")
async def test_missing_connection_sends_an_error(error):
    assert "There is no Airflow connection 'gone'" in await error(ends_nothing=True, kernel_conn_id="gone")


@pytest.mark.usefixtures("refused_key_ends_waits_soon")
async def test_malformed_connection_sends_an_error(error, monkeypatch, kernel_emulator):
    connection = {**json.loads(kernel_emulator.airflow_connection), "host": "https://api.invalid/path"}
    monkeypatch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", json.dumps(connection))
    assert "https://api.invalid/path" in await error(ends_nothing=True)


async def test_crash_of_the_trigger_is_left_to_airflow(waits, triggerer, changes, monkeypatch):
    def crash(self, invocation):
        raise RuntimeError("crash")

    monkeypatch.setattr(KernelInvocationTrigger, "_wait", crash)
    task = await triggerer.start(row(), task_instance())
    await asyncio.wait({task})
    with pytest.raises(RuntimeError, match="crash"):
        task.result()
    assert triggerer.events == []
    assert changes() == []


async def test_connection_is_read_once_and_first(start, triggerer, reads, kernel_emulator, monkeypatch):
    requests_before = []
    invocation_id = start()
    init = AsyncKernelClient.__init__

    def recorded(self, config, **arguments):
        requests_before.append((list(reads), len(kernel_emulator.requests("GET"))))
        init(self, config, **arguments)

    monkeypatch.setattr(AsyncKernelClient, "__init__", recorded)
    task = await triggerer.start(row(invocation_id=invocation_id, stream_logs=True))
    await asyncio.to_thread(kernel_emulator.wait_for, "GET", ANY, 3)
    kernel_emulator.finish(invocation_id)
    await task
    assert reads == ["kernel_default"]
    assert requests_before == [(["kernel_default"], 0)]


async def test_certificates_that_only_the_triggerer_lacks_end_nothing(
    start, triggerer, kernel_emulator, changes, monkeypatch, refused_key_ends_waits_soon
):
    connection = {**json.loads(kernel_emulator.airflow_connection), "extra": {"verify_tls": "/no/such/ca.pem"}}
    monkeypatch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", json.dumps(connection))
    await (await triggerer.start(row(invocation_id=start())))
    (event,) = triggerer.events
    assert (event["status"], event["ends_nothing"]) == ("error", True)
    assert "/no/such/ca.pem" in event["error"]
    assert changes() == []


@pytest.mark.parametrize(
    ("count", "stream_logs"), [(1000, False), (100, True)], ids=["1,000", "100 with their logs"]
)
async def test_thousand_triggers_share_one_client(
    count, stream_logs, start, triggerer, clients, kernel_emulator, changes, monkeypatch
):
    async def nothing(*args, **fields):
        pass

    all_wait = asyncio.Event()
    subscribe = SharedPoller.subscribe
    subscribed = []

    def counted(poller, subscribed_id, **options):
        subscribed.append(subscribed_id)
        if len(subscribed) == count:
            all_wait.set()
        return subscribe(poller, subscribed_id, **options)

    monkeypatch.setattr(SharedPoller, "subscribe", counted)
    triggerer.runner.log = SimpleNamespace(info=lambda *args, **fields: None, ainfo=nothing)
    # One invocation serves for all: the emulator has a thread for each, which is beside the point.
    invocation_id = start()
    trigger = row(invocation_id=invocation_id, stream_logs=stream_logs, poll_interval=1)
    tasks = [await triggerer.start(trigger, task_instance()) for _ in range(count)]
    await asyncio.wait_for(all_wait.wait(), 30)
    if stream_logs:
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", EVENTS, count)
    (client,) = clients
    assert len(client._http._transport._pool.connections) <= MAX_CONCURRENT_REQUESTS
    kernel_emulator.finish(invocation_id)
    await asyncio.gather(*tasks)
    assert triggerer.events == [{"invocation_id": invocation_id, "status": "finished"}] * count
    assert len(clients) == 1
    assert changes() == []
