"""The number of open log streams is limited, and no line is lost."""

import asyncio

import pytest

from airflow_provider_kernel.triggers._polling import StreamLimiter, stream_limiter
from airflow_provider_kernel.triggers.invocation import KernelInvocationTrigger

EVENTS = "/invocations/*/events"
LATE = "The invocation's log lines come later, at its end at the latest: "


class Stream:
    """A task that takes a slot, and holds it until it is released."""

    def __init__(self, limiter):
        self.ended = asyncio.get_running_loop().create_future()
        self.has_slot, self._may_go = asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(self._hold(limiter))

    async def _hold(self, limiter):
        async with limiter.slot(self.ended):
            self.has_slot.set()
            await self._may_go.wait()

    async def leave(self):
        self._may_go.set()
        await self.task


class TestStreamLimiter:
    async def test_slots_are_given_in_order(self):
        limiter = StreamLimiter(1)
        first, second, third = (Stream(limiter) for _ in range(3))
        await first.has_slot.wait()
        assert limiter.is_full()
        await first.leave()
        await second.has_slot.wait()
        assert not third.has_slot.is_set()
        await second.leave()
        await third.has_slot.wait()
        await third.leave()
        assert not limiter.is_full()

    async def test_a_cancelled_stream_is_passed_over(self):
        limiter = StreamLimiter(1)
        first, gone, second = (Stream(limiter) for _ in range(3))
        await first.has_slot.wait()
        gone.task.cancel()
        await asyncio.wait({gone.task})
        await first.leave()
        await second.has_slot.wait()
        await second.leave()
        assert not limiter.is_full()

    @pytest.mark.parametrize("steps", range(5))
    async def test_a_stream_that_is_cancelled_as_it_gets_its_slot_gives_it_back(self, steps):
        limiter = StreamLimiter(1)
        first, second = Stream(limiter), Stream(limiter)
        await first.has_slot.wait()
        await asyncio.sleep(0)
        first._may_go.set()
        for _ in range(steps):
            await asyncio.sleep(0)
        second.task.cancel()
        await asyncio.wait({first.task, second.task})
        third = Stream(limiter)
        await asyncio.wait_for(third.has_slot.wait(), 5)
        await third.leave()
        assert not limiter.is_full()

    async def test_an_ended_invocation_gets_a_late_slot(self):
        limiter = StreamLimiter(0)
        stream = Stream(limiter)
        stream.ended.set_result(None)
        await stream.has_slot.wait()
        assert limiter.is_full()
        await stream.leave()
        assert limiter.is_full()

    @pytest.mark.parametrize(("configured", "count"), [(None, 250), ("7", 7), ("0", 0), ("-1", 0)])
    async def test_max_streams_sets_the_number_of_slots(self, configured, count, monkeypatch):
        if configured is not None:
            monkeypatch.setenv("AIRFLOW__KERNEL__MAX_STREAMS", configured)
        assert stream_limiter().count == count
        assert stream_limiter() is stream_limiter()


@pytest.mark.usefixtures("kernel_connection")
class TestTheTrigger:
    async def test_a_trigger_without_a_slot_shows_its_lines_at_the_end(
        self, monkeypatch, start, triggerer, kernel_emulator, log
    ):
        monkeypatch.setenv("AIRFLOW__KERNEL__MAX_STREAMS", "1")
        first = KernelInvocationTrigger(invocation_id=start(), poll_interval=0.05)
        task = await triggerer.start(first)
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", EVENTS)
        second = KernelInvocationTrigger(invocation_id=start("logs", lines=3), poll_interval=0.05)
        await (await triggerer.start(second))
        assert ("INFO", f"{LATE}[kernel] max_streams allows 1 streams at once, and all are in use") in log()
        assert [text for _, text in log() if text.startswith("kernel | ")] == [
            "kernel | line 1",
            "kernel | line 2",
            "kernel | line 3",
        ]
        kernel_emulator.finish(first.invocation_id)
        await task
        assert [event["status"] for event in triggerer.events] == ["finished", "finished"]

    async def test_triggers_open_no_more_streams_than_allowed(self, monkeypatch, start, triggerer, kernel_emulator):
        monkeypatch.setenv("AIRFLOW__KERNEL__MAX_STREAMS", "2")
        ids = [start() for _ in range(6)]
        tasks = [
            await triggerer.start(KernelInvocationTrigger(invocation_id=id_, poll_interval=0.05)) for id_ in ids
        ]
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", EVENTS, 2)
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", "/invocations", 3)
        assert len(kernel_emulator.requests("GET", EVENTS)) == 2
        kernel_emulator.finish(ids[0])
        await tasks[0]
        await asyncio.to_thread(kernel_emulator.wait_for, "GET", EVENTS, 3)
        for id_ in ids[1:]:
            kernel_emulator.finish(id_)
        await asyncio.gather(*tasks)
        assert len(triggerer.events) == 6
