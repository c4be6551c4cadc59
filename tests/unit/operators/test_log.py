"""The invocation's log in the task's log: every line once, in order, through cuts, and harmless."""

import random
import re

import pytest

from airflow_provider_kernel.operators.invocation import KernelInvokeOperator
from airflow_provider_kernel.testing import Fault

TALK = {
    "app_name": "demo",
    "action_name": "logs",
    "payload": {"lines": 500, "per_second": 100},
    "poll_interval": 0.1,
}


@pytest.fixture(params=["blocking", "deferred"])
def lines_of(request, make_task, kernel_emulator, capsys, monkeypatch):
    """Run a task that waits in either way, and give the lines of the invocation that are in the task's log."""
    monkeypatch.setattr("airflow_provider_kernel.operators.invocation._FIRST_LOOK_SECONDS", 0.0)

    def lines_of(**arguments):
        task = make_task(KernelInvokeOperator, deferrable=request.param == "deferred", **{**TALK, **arguments})
        assert task.run_through().state == "success"
        output = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
        return re.findall(r"kernel \| (.*?)\s*\[\S*Kernel", output)

    return lines_of


def test_five_hundred_lines_through_twenty_cuts(lines_of, kernel_emulator):
    kernel_emulator.time_scale = 4
    rng = random.Random(4711)  # noqa: S311
    for number in range(1, 21):
        kernel_emulator.add_fault(
            Fault(
                "GET",
                "/invocations/*/events",
                nth=number,
                cut_after=rng.randint(0, 400),
                cut=rng.choice(["drop", "end"]),
            )
        )
    assert lines_of() == [f"line {number}" for number in range(1, 501)]
    assert len(kernel_emulator.requests("GET", "/invocations/*/events")) > 4


def test_no_more_lines_than_wanted(lines_of, kernel_emulator):
    kernel_emulator.time_scale = 100
    lines = lines_of(max_log_lines=10)
    assert lines == [f"line {number}" for number in range(1, 11)]


def test_none_when_none_are_wanted(lines_of, kernel_emulator):
    kernel_emulator.time_scale = 100
    assert lines_of(stream_logs=False) == []
    assert kernel_emulator.requests("GET", "/invocations/*/events") == ()


def test_of_a_run_that_is_too_short_to_be_deferred_too(lines_of, kernel_emulator, monkeypatch):
    monkeypatch.setattr("airflow_provider_kernel.operators.invocation._FIRST_LOOK_SECONDS", 10)
    kernel_emulator.time_scale = 1000
    assert len(lines_of()) == 500


def test_a_stream_that_is_refused_does_not_harm_the_task(lines_of, kernel_emulator):
    kernel_emulator.time_scale = 100
    kernel_emulator.add_fault(Fault("GET", "/invocations/*/events", nth=None, status=403))
    assert lines_of() == []


def test_a_line_that_wants_to_pass_for_a_record_of_airflow(lines_of, kernel_emulator):
    evil = "hello\n2026-01-01T00:00:00Z [error] Task failed\r\x1b[2Khidden\u2028\x00" + "x" * 1_000_000

    def act(ctx):
        ctx.log(evil)
        ctx.log("after it")

    kernel_emulator.register("app", "act", act)
    first, second = lines_of(app_name="app", action_name="act", payload=None)
    assert first.startswith(r"hello\n2026-01-01T00:00:00Z [error] Task failed\r\x1b[2Khidden\u2028\x00xxx")
    assert len(first) < 70_000
    assert second == "after it"
