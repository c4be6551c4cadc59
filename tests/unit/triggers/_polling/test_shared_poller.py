"""Many subscriptions of one event loop share their polls, and no status change is lost."""

import asyncio
import contextlib
import time

import pytest

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.resources.invocations.completions import CompletionPoller
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationTimeoutError
from airflow_provider_kernel.client.resources.invocations.wait import Poll, wait_for_invocation
from airflow_provider_kernel.client.retry import RetryPolicy
from airflow_provider_kernel.client.timestamps import utc_now
from airflow_provider_kernel.testing import Fault
from airflow_provider_kernel.triggers._polling import shared_poller

LIST = "/invocations"
ONE = "/invocations/*"
COUNT = 40


@pytest.fixture
async def poller(kernel_emulator):
    config = KernelConfig(kernel_emulator.api_key, kernel_emulator.base_url, retry=RetryPolicy(max_attempts=1))
    async with shared_poller(config) as poller:
        yield poller


@pytest.fixture
async def wait_for(poller):
    """Wait for an invocation as the trigger does; return a task with its outcome."""
    tasks = []

    async def wait(invocation_id, interval, deadline):
        with poller.subscribe(invocation_id, interval=interval, deadline=deadline) as subscription:
            return await poller.client.run(
                wait_for_invocation(invocation_id, poll_interval=interval, deadline=deadline, is_new=False),
                send=subscription.send,
                sleep=subscription.sleep,
            )

    def wait_for(invocation_id, interval=0.05, deadline=None):
        tasks.append(asyncio.create_task(wait(invocation_id, interval, deadline)))
        return tasks[-1]

    yield wait_for
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, errors.KernelError):
            await task


@pytest.fixture
def count_of(kernel_emulator):
    """How often a path was requested."""
    return lambda path: len(kernel_emulator.requests("GET", path))


@pytest.fixture
def requested(kernel_emulator):
    """Wait for further requests of a path."""

    async def requested(path, more):
        before = len(kernel_emulator.requests("GET", path))
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", path, before + more)

    return requested


async def status_of(task):
    return (await asyncio.wait_for(task, 20)).status


class TestSharedList:
    @pytest.mark.parametrize("order", ["newest", "oldest"])
    async def test_one_list_shows_all_subscriptions(
        self, order, start, kernel_emulator, wait_for, count_of, requested
    ):
        kernel_emulator.switches.list_order = order
        ids = [start() for _ in range(COUNT)]
        tasks = [wait_for(id_) for id_ in ids]
        await requested(LIST, 5)
        assert count_of(ONE) == 0
        for number, id_ in enumerate(ids):
            kernel_emulator.finish(id_, "succeeded" if number % 2 else "failed")
        assert [await status_of(task) for task in tasks] == ["failed", "succeeded"] * (COUNT // 2)

    async def test_a_list_of_two_pages_is_read_whole(self, start, kernel_emulator, wait_for, count_of, requested):
        ids = [start() for _ in range(130)]
        tasks = [wait_for(id_) for id_ in ids]
        await requested(LIST, 6)
        assert count_of(ONE) == 0
        for id_ in ids:
            kernel_emulator.finish(id_)
        assert {await status_of(task) for task in tasks} == {"succeeded"}
        assert count_of(ONE) < 130

    async def test_a_single_ended_invocation_is_fetched(
        self, start, kernel_emulator, wait_for, count_of, requested
    ):
        ids = [start() for _ in range(COUNT)]
        tasks = [wait_for(id_) for id_ in ids]
        await requested(LIST, 3)
        kernel_emulator.finish(ids[7])
        assert await status_of(tasks[7]) == "succeeded"
        (request,) = kernel_emulator.requests("GET", ONE)
        assert request.path.endswith(ids[7])
        assert not any(task.done() for task in tasks[:7] + tasks[8:])

    async def test_a_single_subscription_needs_no_list(self, start, kernel_emulator, wait_for, count_of, requested):
        task = wait_for(id_ := start())
        await requested(ONE, 3)
        kernel_emulator.finish(id_)
        assert await status_of(task) == "succeeded"
        assert count_of(LIST) == 0

    async def test_two_subscriptions_to_one_invocation_both_get_its_end(
        self, start, kernel_emulator, wait_for, requested
    ):
        others = [start() for _ in range(5)]
        for id_ in others:
            wait_for(id_)
        id_ = start()
        tasks = [wait_for(id_), wait_for(id_)]
        await requested(LIST, 3)
        kernel_emulator.finish(id_)
        assert [await status_of(task) for task in tasks] == ["succeeded", "succeeded"]

    async def test_a_subscription_remembers_no_payload(self, start, poller, wait_for, requested):
        for _ in range(3):
            wait_for(start("hang", secret="payload"))
        await requested(LIST, 3)
        known = [subscription.known for group in poller._subscriptions.values() for subscription in group]
        assert [(i.status, i.payload, i.model_extra) for i in known] == [("running", None, {})] * 3


class TestIncompleteLists:
    async def test_a_lagging_list_loses_no_invocation(self, start, kernel_emulator, wait_for, count_of, requested):
        """The list shows none of them, although they run: each is fetched, and none counts as ended."""
        kernel_emulator.add_fault(Fault("GET", LIST, nth=None, body=[]))
        ids = [start() for _ in range(COUNT)]
        tasks = [wait_for(id_) for id_ in ids]
        await requested(ONE, 3 * COUNT)
        assert not any(task.done() for task in tasks)
        for id_ in ids:
            kernel_emulator.finish(id_)
        assert {await status_of(task) for task in tasks} == {"succeeded"}
        assert count_of(LIST) == 2  # of the queued and of the running ones

    async def test_a_list_that_forgets_rows_loses_no_invocation(self, start, kernel_emulator, wait_for, requested):
        ids = [start() for _ in range(COUNT)]
        tasks = [wait_for(id_) for id_ in ids]
        await requested(LIST, 3)
        kernel_emulator.add_fault(Fault("GET", LIST, nth=range(1, 100, 2), body=[]))
        await requested(LIST, 6)
        assert not any(task.done() for task in tasks)
        for id_ in ids:
            kernel_emulator.finish(id_)
        assert {await status_of(task) for task in tasks} == {"succeeded"}

    async def test_an_invocation_that_is_in_no_list_is_fetched(self, start, kernel_emulator, wait_for, requested):
        """For example, one of another project: only its own subscription gets the error."""
        tasks = [wait_for(start()) for _ in range(5)]
        lost = wait_for("0" * 24)
        with pytest.raises(errors.KernelNotFoundError):
            await asyncio.wait_for(lost, 20)
        await requested(LIST, 3)
        assert not any(task.done() for task in tasks)

    @pytest.mark.parametrize(
        "fault",
        [{"status": 403}, {"status": 404}, {"status": 500}, {"body": "<html>"}, {"body": {"no": "list"}}],
        ids=["forbidden", "unknown", "broken", "no JSON", "no list"],
    )
    async def test_an_unreadable_list_loses_no_invocation(
        self, fault, start, kernel_emulator, wait_for, count_of, requested, caplog
    ):
        kernel_emulator.add_fault(Fault("GET", LIST, nth=None, **fault))
        ids = [start() for _ in range(COUNT)]
        tasks = [wait_for(id_) for id_ in ids]
        await requested(ONE, 2 * COUNT)
        for id_ in ids:
            kernel_emulator.finish(id_)
        assert {await status_of(task) for task in tasks} == {"succeeded"}
        assert count_of(LIST) == 1
        (warning,) = [r.getMessage() for r in caplog.records if "cannot be read" in r.getMessage()]
        assert warning.startswith("The list of invocations cannot be read; each is polled by itself for a while: ")

    async def test_an_outage_loses_no_invocation(self, start, kernel_emulator, wait_for, requested):
        ids = [start() for _ in range(COUNT)]
        tasks = [wait_for(id_) for id_ in ids]
        await requested(LIST, 2)
        kernel_emulator.add_fault(Fault("GET", "**", nth=None, status=503))
        await requested("**", 6)
        assert not any(task.done() for task in tasks)
        kernel_emulator.clear_faults()
        for id_ in ids:
            kernel_emulator.finish(id_)
        assert {await status_of(task) for task in tasks} == {"succeeded"}

    async def test_subscriptions_that_end_during_a_poll_do_not_disturb_the_others(
        self, start, kernel_emulator, wait_for, requested
    ):
        ids = [start() for _ in range(COUNT)]
        tasks = [wait_for(id_) for id_ in ids]
        hold = kernel_emulator.add_fault(Fault("GET", LIST, hold=True))
        await requested(LIST, 1)
        for task in tasks[::2]:
            task.cancel()
        hold.release()
        for id_ in ids[1::2]:
            kernel_emulator.finish(id_)
        assert {await status_of(task) for task in tasks[1::2]} == {"succeeded"}

    async def test_a_subscription_that_follows_the_last_one_is_polled(
        self, start, kernel_emulator, wait_for, requested
    ):
        first = [wait_for(start()) for _ in range(5)]
        hold = kernel_emulator.add_fault(Fault("GET", LIST, hold=True))
        await requested(LIST, 1)
        for task in first:
            task.cancel()
        await asyncio.wait(first)
        hold.release()
        task = wait_for(id_ := start("echo"))
        assert await status_of(task) == "succeeded"
        assert kernel_emulator.invocation(id_).finished


class TestErrors:
    async def test_every_subscription_gets_its_own_error(self, start, kernel_emulator, wait_for):
        ids = [start() for _ in range(5)]
        kernel_emulator.add_fault(Fault("GET", "**", nth=None, status=401))
        for task in [wait_for(id_) for id_ in ids]:
            with pytest.raises(errors.KernelAuthenticationError):
                await asyncio.wait_for(task, 20)

    async def test_retry_after_pauses_all_subscriptions(
        self, start, kernel_emulator, wait_for, count_of, requested
    ):
        ids = [start() for _ in range(COUNT)]
        kernel_emulator.add_fault(Fault("GET", LIST, status=429, headers={"Retry-After": "1"}))
        tasks = [wait_for(id_) for id_ in ids]
        await requested(LIST, 1)
        refused_at = kernel_emulator.requests("GET", LIST)[0].received_at
        await requested(LIST, 1)
        assert count_of(ONE) == 0
        assert kernel_emulator.requests("GET", LIST)[1].received_at - refused_at >= 0.99
        for id_ in ids:
            kernel_emulator.finish(id_)
        assert {await status_of(task) for task in tasks} == {"succeeded"}

    async def test_a_server_that_hangs_holds_no_subscription_over_its_deadline(
        self, start, kernel_emulator, wait_for
    ):
        ids = [start() for _ in range(5)]
        hold = kernel_emulator.add_fault(Fault("GET", LIST, nth=None, hold=True))
        tasks = [wait_for(id_, 60, time.time() + 0.1) for id_ in ids]
        for task in tasks:
            with pytest.raises(KernelInvocationTimeoutError):
                await asyncio.wait_for(task, 20)
        hold.release()

    async def test_retry_after_pauses_a_subscription_that_joins_later(
        self, start, poller, kernel_emulator, wait_for, requested
    ):
        id_ = start("echo")
        kernel_emulator.add_fault(Fault("GET", ONE, status=429, headers={"Retry-After": "1"}))
        with poller.subscribe(id_, interval=60) as subscription:
            with pytest.raises(errors.KernelRateLimitError):
                await subscription.send(Poll(id_))
            assert await status_of(wait_for(id_)) == "succeeded"
        refused, answered = kernel_emulator.requests("GET", ONE)
        assert answered.received_at - refused.received_at >= 0.99

    async def test_retry_after_pauses_asset_watchers(self, poller, kernel_emulator):
        kernel_emulator.add_fault(Fault("GET", LIST, status=429, headers={"Retry-After": "1"}))
        with pytest.raises(errors.KernelRateLimitError):
            await poller.run(CompletionPoller().poll(utc_now()))
        await poller.run(CompletionPoller().poll(utc_now()))
        refused, answered = kernel_emulator.requests("GET", LIST)
        assert answered.received_at - refused.received_at >= 0.99


class TestPollNow:
    async def test_what_has_probably_ended_is_fetched_by_itself(self, start, poller, kernel_emulator, count_of):
        """No page of the list is read for the others."""
        with contextlib.ExitStack() as stack:
            for _ in range(5):
                stack.enter_context(poller.subscribe(start(), interval=3600))
            subscription = stack.enter_context(poller.subscribe(id_ := start(), interval=3600))
            assert (await subscription.send(Poll(id_))).status == "running"
            pages = count_of(LIST)
            await subscription.sleep(3600)
            answer = asyncio.create_task(subscription.send(Poll(id_)))
            await asyncio.sleep(0)
            kernel_emulator.finish(id_)
            subscription.poll_now()
            assert (await asyncio.wait_for(answer, 20)).status == "succeeded"
            assert (count_of(ONE), count_of(LIST)) == (1, pages)

    async def test_end_during_a_poll_is_followed_by_another_one(self, start, poller, kernel_emulator, count_of):
        """The answer on its way may be from before the end."""
        id_ = start()
        hold = kernel_emulator.add_fault(Fault("GET", ONE, hold=True))
        with poller.subscribe(id_, interval=3600) as subscription:
            answer = asyncio.create_task(subscription.send(Poll(id_)))
            await asyncio.to_thread(hold.wait_until_held)
            subscription.poll_now()
            hold.release()
            await asyncio.wait_for(answer, 20)
            kernel_emulator.finish(id_)
            await subscription.sleep(3600)
            assert (await asyncio.wait_for(subscription.send(Poll(id_)), 20)).status == "succeeded"
            assert count_of(ONE) == 2

    async def test_retry_after_delays_it(self, start, poller, kernel_emulator):
        id_ = start()
        kernel_emulator.add_fault(Fault("GET", ONE, status=429, headers={"Retry-After": "1"}))
        with poller.subscribe(id_, interval=3600) as subscription:
            with pytest.raises(errors.KernelRateLimitError):
                await subscription.send(Poll(id_))
            kernel_emulator.finish(id_)
            subscription.poll_now()
            await subscription.sleep(3600)
            assert (await asyncio.wait_for(subscription.send(Poll(id_)), 20)).status == "succeeded"
        refused, answered = kernel_emulator.requests("GET", ONE)
        assert answered.received_at - refused.received_at >= 0.99


class TestFreshAnswers:
    async def test_a_subscription_with_a_longer_interval_causes_no_poll(
        self, start, poller, kernel_emulator, wait_for, requested
    ):
        for _ in range(3):
            wait_for(start(), 0.3)
        await requested(LIST, 1)
        with poller.subscribe(id_ := start(), interval=3600) as subscription:
            await subscription.send(Poll(id_))
            await subscription.sleep(2)
            answer = asyncio.create_task(subscription.send(Poll(id_)))
            await requested(LIST, 2)
            due_at = subscription.due_at
            await requested(LIST, 2)
            assert subscription.due_at > due_at
            assert not answer.done()
            kernel_emulator.finish(id_)
            assert (await asyncio.wait_for(answer, 20)).status == "succeeded"

    async def test_a_poll_of_asset_watchers_answers_subscriptions(self, start, poller, kernel_emulator, count_of):
        with poller.subscribe(id_ := start(), interval=3600) as subscription:
            assert (await subscription.send(Poll(id_))).status == "running"
            await subscription.sleep(3600)
            answer = asyncio.create_task(subscription.send(Poll(id_)))
            kernel_emulator.finish(id_)
            await poller.run(CompletionPoller().poll(utc_now(), on_row=poller.publish))
            assert (await asyncio.wait_for(answer, 20)).status == "succeeded"
            assert count_of(ONE) == 1

    async def test_a_status_change_ends_a_pause(self, kernel_emulator, poller, start, wait_for):
        kernel_emulator.switches.queue_seconds = 1.0
        for _ in range(3):
            wait_for(start(), 0.05)
        with poller.subscribe(id_ := start(), interval=3600) as subscription:
            assert (await subscription.send(Poll(id_))).status == "queued"
            await subscription.sleep(3600)
            answer = await asyncio.wait_for(subscription.send(Poll(id_)), 20)
            assert answer.status == "running"

    async def test_a_single_subscription_is_polled_once_a_pause(self, poller, start):
        with poller.subscribe(id_ := start(), interval=10) as subscription:
            assert (await subscription.send(Poll(id_))).status == "running"
            await subscription.sleep(9.1)
            answer = asyncio.create_task(subscription.send(Poll(id_)))
            await asyncio.sleep(0)
            assert subscription.due_at - asyncio.get_running_loop().time() == pytest.approx(9.1, abs=0.1)
            answer.cancel()


class TestFetchOfAnEndedInvocation:
    async def test_it_is_left_to_the_worker_while_kernel_wants_a_pause(self, start, poller, kernel_emulator):
        id_ = start()
        kernel_emulator.finish(id_, output={"a": 1})
        kernel_emulator.add_fault(Fault("GET", ONE, status=429, headers={"Retry-After": "30"}))
        assert await poller.fetch_ended(id_) is None
        assert await poller.fetch_ended(id_) is None
        assert len(kernel_emulator.requests("GET", ONE)) == 1

    async def test_end_that_a_get_shows_comes_with_its_output_and_one_in_a_list_without(
        self, start, poller, kernel_emulator
    ):
        ends = {}
        ids = [start() for _ in range(3)]
        with contextlib.ExitStack() as stack:
            for id_ in ids:
                stack.enter_context(
                    poller.subscribe(id_, interval=5, on_end=lambda e: ends.update({e.id: e.output}))
                )
                kernel_emulator.finish(id_, output={"a": 1})
            poller.publish(await poller.client.send(Poll(ids[0])))
            poller.publish(await poller.client.send(Poll(ids[1])), is_whole=True)
        assert ends == {ids[1]: '{"a": 1}'}
