"""One poller, and one client, for all triggers of an event loop that use the same connection."""

import asyncio
from dataclasses import replace

import pytest

from airflow_provider_kernel.client.client import AsyncKernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.errors import KernelConfigurationError, KernelTimeoutError
from airflow_provider_kernel.client.http.concurrency import RequestLimiter
from airflow_provider_kernel.client.per_process import PerProcess
from airflow_provider_kernel.client.resources.invocations import requests
from airflow_provider_kernel.testing import Fault
from airflow_provider_kernel.triggers._polling import shared_poller

CONFIG = KernelConfig("sk-test-key", "http://127.0.0.1:1")


def is_closed(poller):
    return poller.client._http.is_closed


@pytest.fixture
def config(kernel_emulator):
    return KernelConfig(kernel_emulator.api_key, kernel_emulator.base_url)


async def test_the_last_user_of_a_poller_closes_its_client():
    async with shared_poller(CONFIG) as one:
        async with shared_poller(replace(CONFIG)) as other:
            assert other is one
        assert not is_closed(one)
        async with shared_poller(CONFIG) as third:
            assert third is one
    assert is_closed(one)


async def test_a_poller_outlives_its_first_user(clients):
    first, second = shared_poller(CONFIG), shared_poller(CONFIG)
    poller = await first.__aenter__()
    await second.__aenter__()
    await first.__aexit__(None, None, None)
    assert not is_closed(poller)
    await second.__aexit__(None, None, None)
    assert is_closed(poller)
    assert clients == [poller.client]


async def test_a_closed_poller_is_replaced():
    async with shared_poller(CONFIG) as one:
        pass
    async with shared_poller(CONFIG) as another:
        assert another is not one
        assert not is_closed(another)


@pytest.mark.parametrize(
    "difference",
    [
        {"api_key": "sk-other-key"},
        {"base_url": "http://127.0.0.1:2"},
        {"project": "p"},
        {"read_timeout": 1.0},
        {"verify_tls": False},
    ],
    ids=lambda difference: next(iter(difference)),
)
async def test_another_configuration_has_another_poller(difference):
    async with shared_poller(CONFIG) as one, shared_poller(replace(CONFIG, **difference)) as other:
        assert other is not one
        assert other.client.config == replace(CONFIG, **difference)
    assert is_closed(one)
    assert is_closed(other)


def test_another_event_loop_has_another_poller():
    async def borrow():
        async with shared_poller(CONFIG) as poller:
            inside.append(poller)
            if len(inside) == 1:
                # In the middle of the use in the first loop; each loop needs a thread of its own.
                await asyncio.to_thread(asyncio.run, borrow())
                assert is_closed(inside[1])
                assert not is_closed(poller)

    inside = []
    asyncio.run(borrow())
    assert inside[0] is not inside[1]
    assert is_closed(inside[0])


async def test_an_error_of_its_last_user_closes_a_poller():
    with pytest.raises(RuntimeError, match="crash"):
        async with shared_poller(CONFIG) as poller:
            raise RuntimeError("crash")
    assert is_closed(poller)


async def test_a_poller_that_cannot_be_made_is_not_kept():
    broken = replace(CONFIG, verify_tls="/nowhere/ca.pem")
    for _ in range(2):
        with pytest.raises(KernelConfigurationError):
            async with shared_poller(broken):
                pass


async def test_a_hundred_users_share_one_poller(clients):
    all_have_one, goes_on = asyncio.Event(), asyncio.Event()
    borrowed = []

    async def borrow():
        async with shared_poller(CONFIG) as poller:
            borrowed.append(poller)
            if len(borrowed) == 100:
                all_have_one.set()
            await goes_on.wait()
            assert not is_closed(poller)

    tasks = [asyncio.create_task(borrow()) for _ in range(100)]
    await all_have_one.wait()
    tasks[0].cancel()
    await asyncio.wait({tasks[0]})
    goes_on.set()
    await asyncio.gather(*tasks[1:])
    assert len(clients) == 1
    assert {poller.client for poller in borrowed} == set(clients)


async def test_a_user_that_comes_while_a_poller_closes_gets_a_new_one(monkeypatch):
    closing, may_close = asyncio.Event(), asyncio.Event()
    close = AsyncKernelClient.close

    async def slow(self):
        closing.set()
        await may_close.wait()
        await close(self)

    monkeypatch.setattr(AsyncKernelClient, "close", slow)

    async def borrow():
        async with shared_poller(CONFIG) as poller:
            return poller

    first = asyncio.create_task(borrow())
    await closing.wait()
    async with shared_poller(CONFIG) as another:
        may_close.set()
        assert await first is not another
        assert not is_closed(another)


async def test_a_poller_is_closed_although_its_last_user_is_cancelled(monkeypatch):
    """A triggerer may cancel a trigger several times."""
    closing, may_close = asyncio.Event(), asyncio.Event()
    close = AsyncKernelClient.close

    async def slow(self):
        closing.set()
        await may_close.wait()
        await close(self)

    monkeypatch.setattr(AsyncKernelClient, "close", slow)
    borrowed = []

    async def borrow():
        async with shared_poller(CONFIG) as poller:
            borrowed.append(poller)

    task = asyncio.create_task(borrow())
    await closing.wait()
    task.cancel()
    await asyncio.wait({task})
    may_close.set()
    await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
    assert is_closed(borrowed[0])


class TestRequestLimit:
    """httpcore's pool slows down with the square of its connections, and worse."""

    @pytest.fixture(autouse=True)
    def two_at_once(self, monkeypatch):
        monkeypatch.setattr("airflow_provider_kernel.client.http.concurrency.MAX_CONCURRENT_REQUESTS", 2)

    async def test_requests_above_the_limit_wait_for_a_slot(self, config, start, kernel_emulator):
        invocation_id = start()
        fault = kernel_emulator.add_fault(Fault("GET", "/invocations/*", nth=(1, 2), hold=True))
        async with shared_poller(config) as poller:
            polls = [
                asyncio.create_task(poller.client.send(requests.get_invocation(invocation_id))) for _ in range(10)
            ]
            await asyncio.to_thread(fault.wait_until_held, 2)
            assert len(kernel_emulator.requests("GET")) == 2
            fault.release()
            assert {found.id for found in await asyncio.gather(*polls)} == {invocation_id}
            assert len(poller.client._http._transport._pool.connections) == 2

    async def test_streams_take_no_request_slot(self, config, start, kernel_emulator):
        invocation_id = start()
        async with shared_poller(config) as poller:

            async def follow():
                request = requests.follow_invocation(invocation_id, since="2h")
                async for _ in poller.client.events(request, idle_timeout=60):
                    pass

            streams = [asyncio.create_task(follow()) for _ in range(5)]
            await asyncio.to_thread(kernel_emulator.wait_for, "GET", "/invocations/*/events", 5)
            assert (await poller.client.send(requests.get_invocation(invocation_id))).id == invocation_id
            kernel_emulator.finish(invocation_id)
            await asyncio.gather(*streams)

    async def test_a_request_without_a_slot_fails_and_is_not_sent(self, config, start, kernel_emulator):
        poll = replace(requests.get_invocation(start()), resend=requests.Resend.NEVER)
        fault = kernel_emulator.add_fault(Fault("GET", "/invocations/*", nth=(1, 2), hold=True))
        async with shared_poller(config) as poller:
            # A slot is waited for as long as an answer; here the requests in front must wait longer.
            poller.client._limiters = PerProcess(lambda: RequestLimiter(seconds=0.3))
            held = [asyncio.create_task(poller.client.send(poll)) for _ in range(2)]
            await asyncio.to_thread(fault.wait_until_held, 2)
            with pytest.raises(KernelTimeoutError, match="too many requests are waiting") as caught:
                await poller.client.send(poll)
            assert not caught.value.sent
            fault.release()
            await asyncio.wait(held)
            await poller.client.send(poll)  # no slot got lost

    async def test_a_cancelled_request_leaves_its_slot_to_the_next(self, config, start, kernel_emulator):
        poll = requests.get_invocation(start())
        fault = kernel_emulator.add_fault(Fault("GET", "/invocations/*", nth=(1, 2), hold=True))
        async with shared_poller(config) as poller:
            sent = [asyncio.create_task(poller.client.send(poll)) for _ in range(6)]
            await asyncio.to_thread(fault.wait_until_held, 2)
            for task in sent[:4]:  # two that were sent, two that wait
                task.cancel()
            await asyncio.wait(sent[:4])
            assert all(task.cancelled() for task in sent[:4])
            await asyncio.gather(*sent[4:])
            fault.release()
            await poller.client.send(poll)
