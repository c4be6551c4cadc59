"""The invocation's lines in the log of a deferred task."""

import asyncio
import time

import pytest
from support.invocation_trigger import (
    ANY,
    EVENTS,
    row,
)

from airflow_provider_kernel.testing import Fault

pytestmark = pytest.mark.usefixtures("kernel_connection", "supervisor")


async def test_log_lines_are_written_once_and_before_the_event(start, triggerer, lines, kernel_emulator):
    # The last lines come after the poll that finds the end.
    kernel_emulator.add_fault(Fault("GET", EVENTS, delay=0.3))
    invocation_id = start("logs", lines=200)
    kernel_emulator.wait_for_status(invocation_id, "succeeded")
    shown = []
    events = triggerer.runner.events

    class Events(type(events)):
        def append(self, event):
            shown.extend(lines())
            super().append(event)

    triggerer.runner.events = Events()
    await (await triggerer.start(row(invocation_id=invocation_id, stream_logs=True)))
    assert shown == [f"line {number}" for number in range(1, 201)]
    assert lines() == shown
    assert len(triggerer.events) == 1


@pytest.mark.parametrize(
    ("seconds_ago", "was_deferred", "says_so"),
    [(0, False, False), (60, False, True), (0, True, True)],
    ids=["taken up at once", "taken up late", "deferred again"],
)
async def test_log_says_before_the_first_line_that_lines_may_come_again(
    seconds_ago, was_deferred, says_so, start, triggerer, log
):
    trigger = row(
        invocation_id=start("logs", lines=2),
        stream_logs=True,
        deferred_at=time.time() - seconds_ago,
        was_deferred=was_deferred,
    )
    await (await triggerer.start(trigger))
    texts = [text for _, text in log() if "come again" in text or text.startswith("kernel | ")]
    assert texts[-2:] == ["kernel | line 1", "kernel | line 2"]
    assert len(texts) == 2 + says_so


async def test_log_has_max_log_lines(start, triggerer, lines, log):
    task = await triggerer.start(row(invocation_id=start("logs", lines=50), stream_logs=True, max_log_lines=10))
    await task
    assert lines() == [f"line {number}" for number in range(1, 11)]
    assert ("INFO", "40 more lines of the invocation were left out (max_log_lines is 10)") in log()


async def test_log_has_no_lines_without_stream_logs(start, triggerer, lines, kernel_emulator):
    await (await triggerer.start(row(invocation_id=start("logs", lines=5))))
    assert lines() == []
    assert kernel_emulator.requests("GET", EVENTS) == ()


@pytest.mark.parametrize("status", [404, 401, 403])
async def test_log_stream_that_is_refused_leaves_the_polls(status, start, triggerer, log, kernel_emulator):
    kernel_emulator.add_fault(Fault("GET", EVENTS, nth=None, status=status))
    invocation_id = start()
    task = await triggerer.start(row(invocation_id=invocation_id, stream_logs=True))
    await asyncio.to_thread(kernel_emulator.wait_for, "GET", ANY, 3)
    kernel_emulator.finish(invocation_id)
    await task
    assert triggerer.events == [{"invocation_id": invocation_id, "status": "finished"}]
    (warning,) = [text for level, text in log() if level == "WARNING"]
    assert warning.startswith("The invocation's log lines are not shown from here on: ")
    assert str(status) in warning


async def test_log_stream_that_keeps_failing_does_not_delay_the_event(
    start, triggerer, kernel_emulator, monkeypatch
):
    monkeypatch.setattr("airflow_provider_kernel.task_log.writer.DRAIN_SECONDS", 0.1)
    kernel_emulator.add_fault(Fault("GET", EVENTS, nth=None, status=500))
    await (await triggerer.start(row(invocation_id=start("echo"), stream_logs=True)))
    assert len(triggerer.events) == 1


async def test_log_says_what_happens_to_the_invocation(start, triggerer, log, kernel_emulator):
    invocation_id = start()
    kernel_emulator.add_fault(Fault("GET", ANY, nth=(2, 3), status=503))
    task = await triggerer.start(row(invocation_id=invocation_id))
    await asyncio.to_thread(kernel_emulator.wait_for, "GET", ANY, 4)
    kernel_emulator.finish(invocation_id)
    await task
    logged = log()
    assert logged[0] == ("INFO", f"Invocation {invocation_id} is running")
    (trouble,) = [text for level, text in logged if level == "WARNING"]
    assert "503" in trouble
    assert trouble.endswith("; polling again")
    assert len(logged) == 2  # the task itself logs how it ended


@pytest.mark.parametrize("was_seen", [False, True])
async def test_log_says_once_that_the_invocation_runs(was_seen, start, triggerer, kernel_emulator, log):
    invocation_id = start()
    kernel_emulator.wait_for_status(invocation_id, "running")
    task = await triggerer.start(row(invocation_id=invocation_id, was_seen=was_seen))
    await asyncio.to_thread(kernel_emulator.wait_for, "GET", ANY)
    kernel_emulator.finish(invocation_id)
    await task
    running = ("INFO", f"Invocation {invocation_id} is running")
    assert log() == ([] if was_seen else [running])
