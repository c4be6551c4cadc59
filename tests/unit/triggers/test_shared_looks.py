"""Many waits of one event loop: they share their looks, and lose nothing by it."""

import asyncio
import contextlib
import time

import pytest

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.client import AsyncKernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationTimeoutError
from airflow_provider_kernel.client.resources.invocations.wait import poll_request, wait_for_invocation
from airflow_provider_kernel.client.retry import RetryPolicy
from airflow_provider_kernel.testing import Fault
from airflow_provider_kernel.triggers import shared_looks
from airflow_provider_kernel.triggers.shared_looks import waiting_for

LIST = "/invocations"
ONE = "/invocations/*"
COUNT = 40


@pytest.fixture
async def client(kernel_emulator):
    retry = RetryPolicy(max_attempts=1)
    async with AsyncKernelClient(
        KernelConfig(kernel_emulator.api_key, kernel_emulator.base_url, retry=retry)
    ) as client:
        yield client
    assert shared_looks._all == {}


@pytest.fixture
async def wait_for(client, kernel_emulator):
    """Wait for an invocation as the trigger does; gives a task with its outcome."""
    tasks = []

    async def watch(invocation_id, interval, deadline, steady):
        with waiting_for(client, invocation_id, interval=interval, deadline=deadline) as wait:
            return await client.run(
                wait_for_invocation(invocation_id, poll_interval=interval, deadline=deadline, is_new=False),
                send=wait.send,
                sleep=lambda seconds: wait.rest(seconds, until_news=steady),
            )

    def wait_for(invocation_id, interval=0.05, deadline=None, *, steady=True):
        tasks.append(asyncio.create_task(watch(invocation_id, interval, deadline, steady)))
        return tasks[-1]

    yield wait_for
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, errors.KernelError):
            await task


@pytest.fixture
def asked(kernel_emulator):
    """How often a path was asked for."""
    return lambda path: len(kernel_emulator.requests("GET", path))


@pytest.fixture
def seen(kernel_emulator):
    """Wait until a path was asked for so many times more."""

    async def seen(path, more):
        before = len(kernel_emulator.requests("GET", path))
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", path, before + more)

    return seen


async def status_of(task):
    return (await asyncio.wait_for(task, 20)).status


class TestTogether:
    @pytest.mark.parametrize("order", ["newest", "oldest"])
    async def test_one_list_tells_all(self, order, start, kernel_emulator, wait_for, asked, seen):
        kernel_emulator.switches.list_order = order
        ids = [start() for _ in range(COUNT)]
        tasks = [wait_for(id_) for id_ in ids]
        await seen(LIST, 5)
        assert asked(ONE) == 0
        for number, id_ in enumerate(ids):
            kernel_emulator.finish(id_, "succeeded" if number % 2 else "failed")
        assert [await status_of(task) for task in tasks] == ["failed", "succeeded"] * (COUNT // 2)

    async def test_more_than_a_page(self, start, kernel_emulator, wait_for, asked, seen):
        ids = [start() for _ in range(130)]
        tasks = [wait_for(id_) for id_ in ids]
        await seen(LIST, 6)
        assert asked(ONE) == 0
        for id_ in ids:
            kernel_emulator.finish(id_)
        assert {await status_of(task) for task in tasks} == {"succeeded"}
        assert asked(ONE) < 130

    async def test_few_that_have_ended_are_asked_for(self, start, kernel_emulator, wait_for, asked, seen):
        ids = [start() for _ in range(COUNT)]
        tasks = [wait_for(id_) for id_ in ids]
        await seen(LIST, 3)
        kernel_emulator.finish(ids[7])
        assert await status_of(tasks[7]) == "succeeded"
        (request,) = kernel_emulator.requests("GET", ONE)
        assert request.path.endswith(ids[7])
        assert not any(task.done() for task in tasks[:7] + tasks[8:])

    async def test_one_alone_is_asked_for(self, start, kernel_emulator, wait_for, asked, seen):
        task = wait_for(id_ := start())
        await seen(ONE, 3)
        kernel_emulator.finish(id_)
        assert await status_of(task) == "succeeded"
        assert asked(LIST) == 0

    async def test_two_that_wait_for_the_same_are_both_told(self, start, kernel_emulator, wait_for, seen):
        others = [start() for _ in range(5)]
        for id_ in others:
            wait_for(id_)
        id_ = start()
        tasks = [wait_for(id_), wait_for(id_)]
        await seen(LIST, 3)
        kernel_emulator.finish(id_)
        assert [await status_of(task) for task in tasks] == ["succeeded", "succeeded"]

    async def test_what_is_known_holds_no_payload(self, start, client, wait_for, seen):
        for _ in range(3):
            wait_for(start("hang", secret="payload"))
        await seen(LIST, 3)
        (looks,) = shared_looks._all.values()
        known = [wait.known for waits in looks._waits.values() for wait in waits]
        assert [(i.status, i.payload, i.model_extra) for i in known] == [("running", None, {})] * 3


class TestNothingIsLost:
    async def test_by_a_list_that_is_behind(self, start, kernel_emulator, wait_for, asked, seen):
        """It shows none of them, although they run: each is asked for, and none is taken for ended."""
        kernel_emulator.add_fault(Fault("GET", LIST, nth=None, body=[]))
        ids = [start() for _ in range(COUNT)]
        tasks = [wait_for(id_) for id_ in ids]
        await seen(ONE, 3 * COUNT)
        assert not any(task.done() for task in tasks)
        for id_ in ids:
            kernel_emulator.finish(id_)
        assert {await status_of(task) for task in tasks} == {"succeeded"}
        assert asked(LIST) == 2  # of the queued and of the running ones

    async def test_by_a_list_that_forgets_some_at_times(self, start, kernel_emulator, wait_for, seen):
        ids = [start() for _ in range(COUNT)]
        tasks = [wait_for(id_) for id_ in ids]
        await seen(LIST, 3)
        kernel_emulator.add_fault(Fault("GET", LIST, nth=range(1, 100, 2), body=[]))
        await seen(LIST, 6)
        assert not any(task.done() for task in tasks)
        for id_ in ids:
            kernel_emulator.finish(id_)
        assert {await status_of(task) for task in tasks} == {"succeeded"}

    async def test_by_one_that_is_in_no_list(self, start, kernel_emulator, wait_for, seen):
        """Such as one of another project: it is asked for by itself, and its trouble is its own."""
        tasks = [wait_for(start()) for _ in range(5)]
        lost = wait_for("0" * 24)
        with pytest.raises(errors.KernelNotFoundError):
            await asyncio.wait_for(lost, 20)
        await seen(LIST, 3)
        assert not any(task.done() for task in tasks)

    @pytest.mark.parametrize(
        "fault",
        [{"status": 403}, {"status": 404}, {"status": 500}, {"body": "<html>"}, {"body": {"no": "list"}}],
        ids=["forbidden", "unknown", "broken", "no JSON", "no list"],
    )
    async def test_by_a_list_that_cannot_be_read(
        self, fault, start, kernel_emulator, wait_for, asked, seen, caplog
    ):
        kernel_emulator.add_fault(Fault("GET", LIST, nth=None, **fault))
        ids = [start() for _ in range(COUNT)]
        tasks = [wait_for(id_) for id_ in ids]
        await seen(ONE, 2 * COUNT)
        for id_ in ids:
            kernel_emulator.finish(id_)
        assert {await status_of(task) for task in tasks} == {"succeeded"}
        assert asked(LIST) == 1
        (warning,) = [r.getMessage() for r in caplog.records if "cannot be read" in r.getMessage()]
        assert warning.startswith("The list of invocations cannot be read, so that each is looked at by itself")

    async def test_over_an_outage(self, start, kernel_emulator, wait_for, seen):
        ids = [start() for _ in range(COUNT)]
        tasks = [wait_for(id_) for id_ in ids]
        await seen(LIST, 2)
        kernel_emulator.add_fault(Fault("GET", "**", nth=None, status=503))
        await seen("**", 6)
        assert not any(task.done() for task in tasks)
        kernel_emulator.clear_faults()
        for id_ in ids:
            kernel_emulator.finish(id_)
        assert {await status_of(task) for task in tasks} == {"succeeded"}

    async def test_when_some_leave_in_the_middle(self, start, kernel_emulator, wait_for, seen):
        ids = [start() for _ in range(COUNT)]
        tasks = [wait_for(id_) for id_ in ids]
        hold = kernel_emulator.add_fault(Fault("GET", LIST, hold=True))
        await seen(LIST, 1)
        for task in tasks[::2]:
            task.cancel()
        hold.release()
        for id_ in ids[1::2]:
            kernel_emulator.finish(id_)
        assert {await status_of(task) for task in tasks[1::2]} == {"succeeded"}

    async def test_when_all_leave_and_others_come(self, start, kernel_emulator, client, wait_for, seen):
        first = [wait_for(start()) for _ in range(5)]
        hold = kernel_emulator.add_fault(Fault("GET", LIST, hold=True))
        await seen(LIST, 1)
        for task in first:
            task.cancel()
        await asyncio.wait(first)
        hold.release()
        task = wait_for(id_ := start("echo"))
        assert await status_of(task) == "succeeded"
        assert kernel_emulator.invocation(id_).finished


class TestTrouble:
    async def test_an_error_of_its_own_is_told_to_each(self, start, kernel_emulator, wait_for):
        ids = [start() for _ in range(5)]
        kernel_emulator.add_fault(Fault("GET", "**", nth=None, status=401))
        for task in [wait_for(id_) for id_ in ids]:
            with pytest.raises(errors.KernelAuthenticationError):
                await asyncio.wait_for(task, 20)

    async def test_a_rate_limit_slows_the_one_down_and_is_not_asked_about(
        self, start, kernel_emulator, wait_for, asked, seen
    ):
        ids = [start() for _ in range(COUNT)]
        kernel_emulator.add_fault(Fault("GET", LIST, status=429, headers={"Retry-After": "1"}))
        tasks = [wait_for(id_) for id_ in ids]
        await seen(LIST, 1)
        refused_at = kernel_emulator.requests("GET", LIST)[0].received_at
        await seen(LIST, 1)
        assert asked(ONE) == 0
        assert kernel_emulator.requests("GET", LIST)[1].received_at - refused_at >= 0.99
        for id_ in ids:
            kernel_emulator.finish(id_)
        assert {await status_of(task) for task in tasks} == {"succeeded"}

    async def test_a_server_that_hangs_keeps_nobody_over_the_deadline(self, start, kernel_emulator, wait_for):
        ids = [start() for _ in range(5)]
        hold = kernel_emulator.add_fault(Fault("GET", LIST, nth=None, hold=True))
        tasks = [wait_for(id_, 60, time.time() + 0.1) for id_ in ids]
        for task in tasks:
            with pytest.raises(KernelInvocationTimeoutError):
                await asyncio.wait_for(task, 20)
        hold.release()


class TestSleepers:
    async def test_are_not_woken_for_what_they_know(
        self, start, kernel_emulator, client, wait_for, seen, monkeypatch
    ):
        woken = []
        send = shared_looks.Wait.send
        monkeypatch.setattr(
            shared_looks.Wait, "send", lambda self, request: woken.append(self) or send(self, request)
        )
        busy = [wait_for(start(), 0.05) for _ in range(3)]
        sleeper = wait_for(id_ := start(), 0.4)
        await seen(LIST, 8)
        del woken[:]
        await seen(LIST, 4)
        assert [wait for wait in woken if wait.invocation_id == id_] == []
        assert not any(task.done() for task in busy)
        kernel_emulator.finish(id_)
        assert await status_of(sleeper) == "succeeded"

    async def test_are_woken_when_it_begins_to_run(self, kernel_emulator, client, start, wait_for):
        kernel_emulator.switches.queue_seconds = 1.0
        for _ in range(3):
            wait_for(start(), 0.05)
        with waiting_for(client, id_ := start(), interval=3600) as wait:
            assert (await wait.send(poll_request(id_))).status == "queued"
            await asyncio.wait_for(wait.rest(3600, until_news=True), 20)
            assert (await wait.send(poll_request(id_))).status == "running"

    @pytest.mark.parametrize("seconds", [9.1, 10.9])
    async def test_look_themselves_once_an_interval(self, seconds, client, start):
        """Though a little older would do if it came of others' looks."""
        with waiting_for(client, id_ := start(), interval=10) as wait:
            assert (await wait.send(poll_request(id_))).status == "running"
            rest = asyncio.create_task(wait.rest(seconds, until_news=True))
            await asyncio.sleep(0)
            wait._timer.cancel()
            wait._wake(is_steady=True)
            assert wait._timer.when() - asyncio.get_running_loop().time() <= 10
            rest.cancel()
