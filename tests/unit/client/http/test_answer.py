"""A large answer is parsed off the event loop, with the same results and the same errors."""

from __future__ import annotations

import asyncio
import gzip
import threading
from dataclasses import replace

import pytest

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.client import AsyncKernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.http import answer
from airflow_provider_kernel.client.http.deadline import Deadline
from airflow_provider_kernel.client.http.response_body import BoundedBody
from airflow_provider_kernel.client.resources.invocations.requests import list_invocations
from airflow_provider_kernel.client.retry import RetryPolicy
from airflow_provider_kernel.testing import Fault

ROW = {"id": "a" * 24, "status": "running", "app_name": "shop", "action_name": "buy", "started_at": "2026-01-01"}


@pytest.fixture
async def client(kernel_emulator):
    config = KernelConfig(kernel_emulator.api_key, kernel_emulator.base_url, retry=RetryPolicy(max_attempts=1))
    async with AsyncKernelClient(config) as client:
        yield client


@pytest.fixture
def sends(kernel_emulator, client):
    """Send a request that is answered with a body; return the rows and whether another thread has parsed them."""

    async def sends(body, **fault):
        kernel_emulator.add_fault(Fault("GET", "/invocations", body=body, **fault))
        request, threads = list_invocations(), []

        def parse(response):
            threads.append(threading.get_ident())
            return request.parse(response)

        page = await client.send(replace(request, parse=parse))
        return page.items, threads != [threading.get_ident()]

    return sends


@pytest.mark.parametrize(("size", "is_off_loop"), [(10, False), (answer.OFF_LOOP_BYTES + 1, True)])
async def test_a_large_answer_is_parsed_by_a_thread(sends, size, is_off_loop):
    rows, was_off_loop = await sends([{**ROW, "payload": "x" * size}])
    assert [len(row.payload) for row in rows] == [size]
    assert was_off_loop is is_off_loop


async def test_a_large_answer_that_is_no_list_is_the_same_error(sends):
    with pytest.raises(errors.KernelResponseError, match="the body is not the Kernel API's JSON"):
        await sends({"no": "list", "but": "x" * 2 * answer.OFF_LOOP_BYTES})


async def test_a_busy_pool_of_threads_holds_no_answer_over_its_deadline(monkeypatch, sends):
    async def never(function):
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "to_thread", never)
    monkeypatch.setattr(Deadline, "of_exchange", classmethod(lambda cls, *_: cls(0.5)))
    with pytest.raises(errors.KernelTimeoutError, match=r"was not complete after 0\.5 s"):
        await sends([{**ROW, "payload": "x" * 2 * answer.OFF_LOOP_BYTES}])


async def test_a_compressed_answer_leaves_rounds_of_the_loop_to_others():
    """One chunk holds 32 MB, which takes long to decompress."""
    turns = 0

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def chunks():
        yield gzip.compress(bytes(2**25))

    task = asyncio.create_task(others())
    body = BoundedBody({"content-encoding": "gzip"}, Deadline(60))
    await body.acollect(chunks())
    task.cancel()
    assert body.size == len(body.content()) == 2**25
    assert turns > 100
