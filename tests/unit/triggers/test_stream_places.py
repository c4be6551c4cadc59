"""So many log streams at once, and the lines of all."""

import asyncio

import pytest

from airflow_provider_kernel.triggers.invocation import KernelInvocationTrigger
from airflow_provider_kernel.triggers.stream_places import StreamPlaces, stream_places

EVENTS = "/invocations/*/events"
LATE = "The invocation's log lines come later, at its end at the latest: "


class TestPlaces:
    async def test_are_given_in_order(self):
        places = StreamPlaces(1)
        first, second, third = (places.queue() for _ in range(3))
        assert [asked.done() for asked in (first, second, third)] == [True, False, False]
        async with places.place(first):
            assert places.is_full()
        async with places.place(second):
            assert not third.done()
        async with places.place(third):
            pass
        assert not places.is_full()

    async def test_those_who_have_gone_are_passed_over(self):
        places = StreamPlaces(1)
        first, gone, second = (places.queue() for _ in range(3))
        gone.cancel()
        async with places.place(first):
            pass
        assert second.done()

    async def test_one_that_is_cancelled_as_it_gets_its_place_gives_it_back(self):
        places = StreamPlaces(1)
        first, second = places.queue(), places.queue()

        async def hold(asked):
            async with places.place(asked):
                pass

        waiting = asyncio.create_task(hold(second))
        await asyncio.sleep(0)
        await hold(first)
        assert second.result() is True
        waiting.cancel()
        await asyncio.wait({waiting})
        assert not places.is_full()

    async def test_who_gives_up_his_turn_reads_all_the_same(self):
        places = StreamPlaces(0)
        asked = places.queue()
        asked.set_result(False)
        async with places.place(asked):
            assert places.is_full()
        assert places.is_full()

    @pytest.mark.parametrize(("configured", "count"), [(None, 250), ("7", 7), ("0", 0), ("-1", 0)])
    async def test_are_as_many_as_configured(self, configured, count, monkeypatch):
        if configured is not None:
            monkeypatch.setenv("AIRFLOW__KERNEL__MAX_STREAMS", configured)
        assert stream_places().count == count
        assert stream_places() is stream_places()


@pytest.mark.usefixtures("kernel_connection")
class TestTheTrigger:
    async def test_shows_the_lines_of_those_without_a_place_at_their_end(
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

    async def test_opens_no_more_than_allowed(self, monkeypatch, start, triggerer, kernel_emulator):
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
