"""A rate limit holds for all triggers of a connection, also for those that start during the pause."""

import asyncio
import json

import pytest
from support.triggerer import Triggerer

from airflow_provider_kernel.testing import Fault
from airflow_provider_kernel.triggers.invocation import KernelInvocationTrigger

RETRY_AFTER = 2


@pytest.fixture
async def triggerer(supervisor):
    triggerer = Triggerer()
    yield triggerer
    await triggerer.stop()


async def test_retry_after_holds_back_a_trigger_that_starts_during_the_pause(
    triggerer, start, kernel_emulator, monkeypatch
):
    connection = {**json.loads(kernel_emulator.airflow_connection), "extra": {"max_attempts": 1}}
    monkeypatch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", json.dumps(connection))

    async def wait_for(invocation_id):
        trigger = KernelInvocationTrigger(
            invocation_id=invocation_id,
            kernel_conn_id="kernel_default",
            poll_interval=0.05,
            stream_logs=False,
        )
        await triggerer.start(trigger)

    async def polls(more):
        before = len(kernel_emulator.requests("GET"))
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", "**", before + more)

    for invocation_id in [start() for _ in range(5)]:
        await wait_for(invocation_id)
    await polls(3)
    limited = Fault("GET", "**", status=429, headers={"Retry-After": str(RETRY_AFTER)})
    newcomer = start()
    before = len(kernel_emulator.requests("GET"))
    kernel_emulator.add_fault(limited)
    await asyncio.to_thread(kernel_emulator.wait_for, "GET", "**", before + 1)
    await wait_for(newcomer)
    await polls(1)
    requests = kernel_emulator.requests("GET")
    refused = next(number for number, request in enumerate(requests) if request.status == 429)
    assert requests[refused + 1].received_at - requests[refused].received_at >= RETRY_AFTER - 0.01
