"""Triggers that begin at once begin in small batches, and none is held up by one that hangs."""

import asyncio
import itertools
import logging
from contextlib import AsyncExitStack

import pytest

from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.task_log.afollow import AsyncLogStream
from airflow_provider_kernel.task_log.writer import InvocationLog
from airflow_provider_kernel.triggers._polling import Turns, turns
from airflow_provider_kernel.triggers._polling.turns import MAX_TURNS
from airflow_provider_kernel.triggers.invocation import KernelInvocationTrigger


class Beginners:
    """Tasks that wait for a turn, and hold it until they are released."""

    def __init__(self, turns):
        self._turns = turns
        self.begun = []
        self.arrivals = asyncio.Queue()
        self.release = asyncio.Event()

    def add(self, count):
        return [asyncio.create_task(self._begin(number)) for number in range(count)]

    async def _begin(self, number):
        async with self._turns.turn():
            self.begun.append(number)
            self.arrivals.put_nowait(number)
            await self.release.wait()


async def rounds(count):
    for _ in range(count):
        await asyncio.sleep(0)


class TestTurns:
    async def test_a_batch_begins_and_the_others_follow_in_order(self):
        beginners = Beginners(Turns())
        tasks = beginners.add(3 * MAX_TURNS + 1)
        await rounds(10)
        assert beginners.begun == list(range(MAX_TURNS))
        beginners.release.set()
        await asyncio.gather(*tasks)
        assert beginners.begun == list(range(3 * MAX_TURNS + 1))

    async def test_short_turns_leave_rounds_of_the_loop_to_others(self):
        """They never hold more than a few turns, but together they would take long."""
        beginners = Beginners(Turns())
        beginners.release.set()
        tasks = beginners.add(10 * MAX_TURNS)
        begun = []
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            begun.append(len(beginners.begun))
        steps = [after - before for before, after in itertools.pairwise(begun)]
        assert max(steps) == MAX_TURNS

    async def test_a_turn_that_takes_long_stops_no_other_one(self):
        beginners = Beginners(Turns())
        tasks = beginners.add(2 * MAX_TURNS)
        begun = [await asyncio.wait_for(beginners.arrivals.get(), 20) for _ in tasks]
        assert begun == list(range(2 * MAX_TURNS))
        beginners.release.set()
        await asyncio.gather(*tasks)
        again = beginners.add(MAX_TURNS + 1)
        await asyncio.gather(*again)  # no turn was given back twice, and none is lost

    @pytest.mark.parametrize("steps", range(4))
    async def test_a_beginner_that_is_cancelled_gives_its_turn_back(self, steps):
        """Before it has a turn, as it gets it, and while it holds it."""
        every = Turns()
        gone = Beginners(every).add(3 * MAX_TURNS)
        await rounds(steps)
        for task in gone:
            task.cancel()
        await asyncio.wait(gone)
        beginners = Beginners(every)
        tasks = beginners.add(MAX_TURNS)
        await rounds(5)
        assert len(beginners.begun) == MAX_TURNS
        beginners.release.set()
        await asyncio.gather(*tasks)

    async def test_a_loop_has_its_own_turns(self):
        assert turns() is turns()
        assert await asyncio.to_thread(lambda: asyncio.run(_turns_of_the_loop())) is not turns()


async def _turns_of_the_loop():
    return turns()


async def test_log_streams_that_open_at_once_open_in_batches():
    opened, release = [], asyncio.Event()

    class Client:
        async def follow(self, follower, *, sleep):
            opened.append(follower)
            await release.wait()
            return
            yield  # an asynchronous generator

    def stream(number):
        log = InvocationLog(logging.getLogger("quiet"), f"id{number}", max_lines=1, may_come_again=False)
        return AsyncLogStream(Client(), f"id{number}", log=log, is_new=True, on_end=lambda: None)

    async with AsyncExitStack() as stack:
        for number in range(5 * MAX_TURNS):
            await stack.enter_async_context(stream(number))
        counts = [0]
        while len(opened) < 5 * MAX_TURNS:
            await asyncio.sleep(0)
            counts.append(len(opened))
        assert max(after - before for before, after in itertools.pairwise(counts)) == MAX_TURNS
        release.set()


@pytest.mark.usefixtures("kernel_connection")
class TestTheTrigger:
    async def test_triggers_that_begin_at_once_read_their_connections_in_batches(
        self, monkeypatch, start, triggerer, kernel_emulator
    ):
        aget_connection, reading, most = KernelHook.aget_connection, 0, 0

        async def counted(conn_id):
            nonlocal reading, most
            reading += 1
            most = max(most, reading)
            try:
                await asyncio.sleep(0)  # the others of the batch begin
                return await aget_connection(conn_id)
            finally:
                reading -= 1

        monkeypatch.setattr(KernelHook, "aget_connection", staticmethod(counted))
        ids = [start() for _ in range(5 * MAX_TURNS)]
        tasks = [
            await triggerer.start(KernelInvocationTrigger(invocation_id=id_, poll_interval=0.05)) for id_ in ids
        ]
        for id_ in ids:
            kernel_emulator.finish(id_)
        await asyncio.gather(*tasks)
        assert [event["status"] for event in triggerer.events] == ["finished"] * len(ids)
        assert 1 < most <= MAX_TURNS

    async def test_a_connection_that_cannot_be_read_holds_up_no_other_trigger(
        self, monkeypatch, start, triggerer, kernel_emulator
    ):
        aget_connection = KernelHook.aget_connection

        async def hangs(conn_id):
            if conn_id == "hangs":
                await asyncio.Event().wait()
            return await aget_connection(conn_id)

        monkeypatch.setattr(KernelHook, "aget_connection", staticmethod(hangs))
        hanging = [
            await triggerer.start(KernelInvocationTrigger(invocation_id=start(), kernel_conn_id="hangs"))
            for _ in range(2 * MAX_TURNS)
        ]
        id_ = start("echo")
        task = await triggerer.start(KernelInvocationTrigger(invocation_id=id_, poll_interval=0.05))
        await asyncio.wait_for(task, 20)
        assert [event["status"] for event in triggerer.events] == ["finished"]
        for each in hanging:
            each.cancel()
        await asyncio.wait(hanging)
