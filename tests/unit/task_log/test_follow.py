"""Following an invocation's log, on a thread and in an event loop: the last lines come, and no failure matters."""

from __future__ import annotations

import asyncio

import pytest

from airflow_provider_kernel.client.client import AsyncKernelClient, KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.resources.invocations import events, requests
from airflow_provider_kernel.task_log.afollow import AsyncLogStream
from airflow_provider_kernel.task_log.follow import LogStream
from airflow_provider_kernel.task_log.writer import InvocationLog
from airflow_provider_kernel.testing import Fault

EVENTS = "/invocations/*/events"
SSE = {"Content-Type": "text/event-stream"}


class Logger:
    """Collects the records."""

    def __init__(self):
        self.records = []

    def log(self, level, text):
        self.records.append(text)

    @property
    def lines(self):
        return [record for record in self.records if record.startswith("kernel |")]


@pytest.fixture
def logger():
    return Logger()


@pytest.fixture
def invocation_id(kernel_emulator):
    kernel_emulator.time_scale = 1000
    config = KernelConfig(kernel_emulator.api_key, kernel_emulator.base_url)
    with KernelClient(config) as client:
        started = client.send(requests.create_invocation("demo", "logs", payload={"lines": 3}))
    kernel_emulator.wait_for_status(started.id, "succeeded")
    return started.id


@pytest.fixture(params=["thread", "event loop"])
def follow(request, kernel_emulator, logger):
    """Follow an invocation's log while a block runs in a thread."""
    config = KernelConfig(kernel_emulator.api_key, kernel_emulator.base_url)

    def follow(invocation_id, block, on_end=lambda: None):
        log = InvocationLog(logger, invocation_id)
        if request.param == "thread":
            with LogStream(config, invocation_id, log=log, on_end=on_end) as stream:
                block()
            return stream

        async def in_a_loop():
            client = AsyncKernelClient(config)
            async with client, AsyncLogStream(client, invocation_id, log=log, is_new=True, on_end=on_end):
                await asyncio.to_thread(block)

        return asyncio.run(in_a_loop())

    return follow


def test_last_lines_do_not_wait_for_the_pause_between_two_connections(
    follow, invocation_id, kernel_emulator, logger, monkeypatch
):
    monkeypatch.setattr(events, "_FIRST_PAUSE_SECONDS", 60.0)
    monkeypatch.setattr(events, "_LONGEST_PAUSE_SECONDS", 60.0)
    kernel_emulator.add_fault(Fault("GET", EVENTS, 1, status=200, headers=SSE, body=b": keep-alive\n\n"))
    follow(invocation_id, lambda: kernel_emulator.wait_for("GET", EVENTS, 1))
    assert logger.lines == ["kernel | line 1", "kernel | line 2", "kernel | line 3"]


def test_last_lines_come_through_twenty_cuts(follow, invocation_id, kernel_emulator, logger, monkeypatch):
    monkeypatch.setattr(events, "_FIRST_PAUSE_SECONDS", 0.01)
    for number in range(1, 21):
        kernel_emulator.add_fault(
            Fault("GET", EVENTS, number, cut_after=number % 2, cut="drop" if number % 4 < 2 else "end")
        )
    follow(invocation_id, lambda: None)
    assert logger.lines == ["kernel | line 1", "kernel | line 2", "kernel | line 3"]


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_wait_that_ends_without_the_lines_says_why(
    follow, invocation_id, kernel_emulator, logger, status, monkeypatch
):
    monkeypatch.setattr("airflow_provider_kernel.task_log.writer.DRAIN_SECONDS", 0.3)
    kernel_emulator.add_fault(Fault("GET", EVENTS, None, status=status))
    follow(invocation_id, lambda: kernel_emulator.wait_for("GET", EVENTS, 1))
    (record,) = logger.records
    assert f"are not shown from here on: GET /invocations/{invocation_id}/events: {status} " in record


def test_thread_of_a_wait_that_failed_connects_no_more(kernel_emulator, invocation_id, logger, monkeypatch):
    monkeypatch.setattr(events, "_FIRST_PAUSE_SECONDS", 60.0)
    monkeypatch.setattr(events, "_LONGEST_PAUSE_SECONDS", 60.0)
    kernel_emulator.add_fault(Fault("GET", EVENTS, None, status=500))
    config = KernelConfig(kernel_emulator.api_key, kernel_emulator.base_url)
    stream = LogStream(config, invocation_id, log=InvocationLog(logger, invocation_id), on_end=lambda: None)
    with pytest.raises(AssertionError), stream:
        kernel_emulator.wait_for("POST", EVENTS, 1, timeout=0.3)
    stream._thread.join(5)
    assert not stream._thread.is_alive()
    assert len(kernel_emulator.requests("GET", EVENTS)) == 1
