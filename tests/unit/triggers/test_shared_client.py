"""One client for all triggers of a loop that call as the same caller, closed by the last one."""

import asyncio
from dataclasses import replace

import pytest

from airflow_provider_kernel.client.client import AsyncKernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.errors import KernelConfigurationError, KernelTimeoutError
from airflow_provider_kernel.client.http.concurrency import RequestLimiter
from airflow_provider_kernel.client.resources.invocations import requests
from airflow_provider_kernel.testing import Fault
from airflow_provider_kernel.triggers.shared_client import shared_client

CONFIG = KernelConfig("sk-test", "http://127.0.0.1:1")


def is_closed(client):
    return client._http.is_closed


@pytest.fixture
def config(kernel_emulator):
    return KernelConfig(kernel_emulator.api_key, kernel_emulator.base_url)


async def test_the_last_one_closes_it():
    async with shared_client(CONFIG) as one:
        async with shared_client(replace(CONFIG)) as other:
            assert other is one
        assert not is_closed(one)
        async with shared_client(CONFIG) as third:
            assert third is one
    assert is_closed(one)


async def test_the_first_one_may_go_first(clients):
    first, second = shared_client(CONFIG), shared_client(CONFIG)
    client = await first.__aenter__()
    await second.__aenter__()
    await first.__aexit__(None, None, None)
    assert not is_closed(client)
    await second.__aexit__(None, None, None)
    assert is_closed(client)
    assert clients == [client]


async def test_after_it_was_closed_there_is_a_new_one():
    async with shared_client(CONFIG) as one:
        pass
    async with shared_client(CONFIG) as another:
        assert another is not one
        assert not is_closed(another)


@pytest.mark.parametrize(
    "difference",
    [
        {"api_key": "sk-other"},
        {"base_url": "http://127.0.0.1:2"},
        {"project": "p"},
        {"read_timeout": 1.0},
        {"verify_tls": False},
    ],
    ids=lambda difference: next(iter(difference)),
)
async def test_another_caller_has_another(difference):
    async with shared_client(CONFIG) as one, shared_client(replace(CONFIG, **difference)) as other:
        assert other is not one
        assert other.config == replace(CONFIG, **difference)
    assert is_closed(one)
    assert is_closed(other)


def test_another_loop_has_another():
    async def borrow():
        async with shared_client(CONFIG) as client:
            inside.append(client)
            if len(inside) == 1:
                # In the middle of the use in the first loop; each loop needs a thread of its own.
                await asyncio.to_thread(asyncio.run, borrow())
                assert is_closed(inside[1])
                assert not is_closed(client)

    inside = []
    asyncio.run(borrow())
    assert inside[0] is not inside[1]
    assert is_closed(inside[0])


async def test_an_error_closes_it_too():
    with pytest.raises(RuntimeError, match="crash"):
        async with shared_client(CONFIG) as client:
            raise RuntimeError("crash")
    assert is_closed(client)


async def test_a_client_that_cannot_be_made_is_not_kept():
    broken = replace(CONFIG, verify_tls="/nowhere/ca.pem")
    for _ in range(2):
        with pytest.raises(KernelConfigurationError):
            async with shared_client(broken):
                pass


async def test_many_at_once(clients):
    all_have_one, goes_on = asyncio.Event(), asyncio.Event()
    borrowed = []

    async def borrow():
        async with shared_client(CONFIG) as client:
            borrowed.append(client)
            if len(borrowed) == 100:
                all_have_one.set()
            await goes_on.wait()
            assert not is_closed(client)

    tasks = [asyncio.create_task(borrow()) for _ in range(100)]
    await all_have_one.wait()
    tasks[0].cancel()
    await asyncio.wait({tasks[0]})
    goes_on.set()
    await asyncio.gather(*tasks[1:])
    assert len(clients) == 1
    assert set(borrowed) == set(clients)


async def test_one_that_comes_while_it_is_being_closed_gets_a_new_one(monkeypatch):
    closing, may_close = asyncio.Event(), asyncio.Event()
    close = AsyncKernelClient.close

    async def slow(self):
        closing.set()
        await may_close.wait()
        await close(self)

    monkeypatch.setattr(AsyncKernelClient, "close", slow)

    async def borrow():
        async with shared_client(CONFIG) as client:
            return client

    first = asyncio.create_task(borrow())
    await closing.wait()
    async with shared_client(CONFIG) as another:
        may_close.set()
        assert await first is not another
        assert not is_closed(another)


async def test_a_user_who_is_cancelled_while_it_is_being_closed(monkeypatch):
    """A triggerer cancels again and again."""
    closing, may_close = asyncio.Event(), asyncio.Event()
    close = AsyncKernelClient.close

    async def slow(self):
        closing.set()
        await may_close.wait()
        await close(self)

    monkeypatch.setattr(AsyncKernelClient, "close", slow)
    borrowed = []

    async def borrow():
        async with shared_client(CONFIG) as client:
            borrowed.append(client)

    task = asyncio.create_task(borrow())
    await closing.wait()
    task.cancel()
    await asyncio.wait({task})
    may_close.set()
    await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
    assert is_closed(borrowed[0])


class TestManyRequestsAtOnce:
    """httpcore's pool slows down with the square of its connections, and worse."""

    @pytest.fixture(autouse=True)
    def two_at_once(self, monkeypatch):
        monkeypatch.setattr("airflow_provider_kernel.client.client._REQUESTS_AT_ONCE", 2)

    async def test_they_take_turns(self, config, start, kernel_emulator):
        invocation_id = start()
        fault = kernel_emulator.add_fault(Fault("GET", "/invocations/*", nth=(1, 2), hold=True))
        async with shared_client(config) as client:
            looks = [asyncio.create_task(client.send(requests.get_invocation(invocation_id))) for _ in range(10)]
            await asyncio.to_thread(fault.wait_until_held, 2)
            assert len(kernel_emulator.requests("GET")) == 2
            fault.release()
            assert {look.id for look in await asyncio.gather(*looks)} == {invocation_id}
            assert len(client._http._transport._pool.connections) == 2

    async def test_streams_do_not_keep_them_waiting(self, config, start, kernel_emulator):
        invocation_id = start()
        async with shared_client(config) as client:

            async def follow():
                request = requests.follow_invocation(invocation_id, since="2h")
                async for _ in client.events(request, silence=60):
                    pass

            streams = [asyncio.create_task(follow()) for _ in range(5)]
            await asyncio.to_thread(kernel_emulator.wait_for, "GET", "/invocations/*/events", 5)
            assert (await client.send(requests.get_invocation(invocation_id))).id == invocation_id
            kernel_emulator.finish(invocation_id)
            await asyncio.gather(*streams)

    async def test_a_turn_that_does_not_come_is_an_error_and_was_not_sent(self, config, start, kernel_emulator):
        look = replace(requests.get_invocation(start()), resend=requests.Resend.NEVER)
        fault = kernel_emulator.add_fault(Fault("GET", "/invocations/*", nth=(1, 2), hold=True))
        async with shared_client(config) as client:
            # A turn is waited for as long as for an answer; here those in front must be the ones that wait longer.
            client._limiter = RequestLimiter(2, seconds=0.3)
            held = [asyncio.create_task(client.send(look)) for _ in range(2)]
            await asyncio.to_thread(fault.wait_until_held, 2)
            with pytest.raises(KernelTimeoutError, match="too many requests are waiting") as caught:
                await client.send(look)
            assert not caught.value.sent
            fault.release()
            await asyncio.wait(held)
            await client.send(look)  # no turn got lost

    async def test_one_that_is_cancelled_leaves_its_turn_to_the_next(self, config, start, kernel_emulator):
        look = requests.get_invocation(start())
        fault = kernel_emulator.add_fault(Fault("GET", "/invocations/*", nth=(1, 2), hold=True))
        async with shared_client(config) as client:
            sent = [asyncio.create_task(client.send(look)) for _ in range(6)]
            await asyncio.to_thread(fault.wait_until_held, 2)
            for task in sent[:4]:  # two that were sent, two that wait
                task.cancel()
            await asyncio.wait(sent[:4])
            assert all(task.cancelled() for task in sent[:4])
            await asyncio.gather(*sent[4:])
            fault.release()
            await client.send(look)
