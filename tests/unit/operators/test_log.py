"""The invocation's log in the task's log: every line once, in order, through cuts, and harmless."""

import random
import re
import signal
import threading
from datetime import timedelta

import pytest

from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.operators.invocation import KernelInvokeOperator
from airflow_provider_kernel.task_log.writer import InvocationLog
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
    monkeypatch.setattr("airflow_provider_kernel.operators.invocation.FIRST_POLL_SECONDS", 0.0)

    def lines_of(**arguments):
        task = make_task(KernelInvokeOperator, deferrable=request.param == "deferred", **{**TALK, **arguments})
        assert task.run_through().state == "success"
        output = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
        return re.findall(r"kernel \| (.*?)\s*\[\S*Kernel", output)

    return lines_of


def test_log_has_five_hundred_lines_once_through_twenty_cuts(lines_of, kernel_emulator):
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


def test_log_has_max_log_lines(lines_of, kernel_emulator):
    kernel_emulator.time_scale = 100
    lines = lines_of(max_log_lines=10)
    assert lines == [f"line {number}" for number in range(1, 11)]


def test_log_has_no_lines_with_max_log_lines_0(lines_of, kernel_emulator):
    kernel_emulator.time_scale = 100
    assert lines_of(stream_logs=False) == []
    assert kernel_emulator.requests("GET", "/invocations/*/events") == ()


def test_log_of_an_invocation_too_short_to_be_deferred_has_its_lines(lines_of, kernel_emulator, monkeypatch):
    monkeypatch.setattr("airflow_provider_kernel.operators.invocation.FIRST_POLL_SECONDS", 2)
    kernel_emulator.time_scale = 1000
    assert len(lines_of()) == 500


def test_refused_log_stream_does_not_fail_the_task(lines_of, kernel_emulator):
    kernel_emulator.time_scale = 100
    kernel_emulator.add_fault(Fault("GET", "/invocations/*/events", nth=None, status=403))
    assert lines_of() == []


def test_log_line_cannot_pass_for_a_record_of_airflow(lines_of, kernel_emulator):
    evil = "hello\n2026-01-01T00:00:00Z [error] Task failed\r\x1b[2Khidden\u2028\x00" + "x" * 1_000_000

    def act(ctx):
        ctx.log(evil)
        ctx.log("after it")

    kernel_emulator.register("app", "act", act)
    first, second = lines_of(app_name="app", action_name="act", payload=None)
    assert first.startswith(r"hello\n2026-01-01T00:00:00Z [error] Task failed\r\x1b[2Khidden\u2028\x00xxx")
    assert len(first) < 70_000
    assert second == "after it"


@pytest.fixture(params=["blocking", "deferred"])
def records_of(request, make_task, kernel_emulator, capsys, monkeypatch):
    """Run a task that waits in either way, and give the texts of all records in its log."""
    monkeypatch.setattr("airflow_provider_kernel.operators.invocation.FIRST_POLL_SECONDS", 0.0)

    def records_of(state="success", **arguments):
        task = make_task(
            KernelInvokeOperator,
            deferrable=request.param == "deferred",
            max_tries=0,
            **{**TALK, "payload": {"lines": 2}, **arguments},
        )
        assert task.run_through().state == state
        output = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
        records = re.findall(r"^\S+ \[\w+\s*\] (.*?)\s*\[\S*(?:kernel|Kernel)\S*\]", output, flags=re.MULTILINE)
        return [record for record in records if record]

    return records_of


class TestTheWholeLog:
    def test_task_log_starts_with_what_was_invoked_and_ends_with_how_it_ended(self, records_of, kernel_emulator):
        records = records_of()
        (invocation,) = kernel_emulator.invocations
        assert records[0] == "Invoking demo/logs, version latest"
        assert re.fullmatch(
            rf"Invocation {invocation.id} succeeded after \d+\.\d s",
            records[-1],
        )

    @pytest.mark.parametrize(
        ("arguments", "line"),
        [
            ({}, "Kernel ends the invocation after 900 s (Kernel's default)"),
            ({"async_timeout_seconds": 60}, "Kernel ends the invocation after 60 s (async_timeout_seconds)"),
            (
                {"execution_timeout": timedelta(minutes=5)},
                "Kernel ends the invocation after 360 s (execution_timeout and a minute); "
                "the task waits for 300 s (execution_timeout)",
            ),
            (
                {"execution_timeout": timedelta(seconds=3590)},
                "Kernel ends the invocation after 3600 s (Kernel's longest limit); "
                "the task waits for 3590 s (execution_timeout)",
            ),
            (
                {"execution_timeout": timedelta(hours=2)},
                "Kernel ends the invocation after 3600 s (Kernel's longest limit), "
                "although the task would wait for 7200 s (execution_timeout)",
            ),
        ],
        ids=["none", "of Kernel", "of the task", "of the task, near Kernel's", "of the task, longer than Kernel's"],
    )
    def test_task_log_says_once_what_limits_the_run(self, records_of, arguments, line):
        records = records_of(**arguments)
        assert [record for record in records if record.startswith("Kernel ends")] == [line]

    def test_task_log_holds_no_payload_and_no_output(self, records_of):
        records = records_of(action_name="echo", payload={"card": "4111-1111"})
        assert "4111" not in str(records)

    def test_log_lines_are_a_group_and_the_tasks_last_line_is_behind_it(self, records_of, kernel_emulator):
        records = records_of()
        (invocation,) = kernel_emulator.invocations
        begin = records.index(f"::group::Log of invocation {invocation.id}")
        end = records.index("::endgroup::")
        assert [r for r in records[begin + 1 : end] if r.startswith("kernel |")] == [
            "kernel | line 1",
            "kernel | line 2",
        ]
        assert records[end + 1 :][-1].startswith(f"Invocation {invocation.id} succeeded after")
        assert not [r for r in records[:begin] + records[end:] if r.startswith("kernel |")]

    def test_task_log_without_lines_has_no_group(self, records_of):
        assert "group::" not in str(records_of(action_name="echo", payload=1))
        assert "group::" not in str(records_of(stream_logs=False))

    def test_task_log_says_that_the_invocation_failed(self, records_of, kernel_emulator):
        records = records_of("failed", action_name="fail", payload=None)
        (invocation,) = kernel_emulator.invocations
        (ended,) = (r for r in records if " failed after " in r)
        assert ended.startswith(f"Invocation {invocation.id} failed after ")
        assert "; see" not in ended  # the default dashboard has no page of an invocation


def lines_folded_away(output):
    """Give the lines of a log that are in a group of an invocation's lines, and not of the invocation."""
    found, is_open = [], False
    for line in re.sub(r"\x1b\[[0-9;]*m", "", output).splitlines():
        text = re.sub(r"^\S+ \[\w+\s*\] ", "", line)
        if text.startswith(("::group::", "::endgroup::")):
            is_open = text.startswith("::group::Log of invocation ")
        elif is_open and not text.startswith("kernel | "):
            found.append(text)
    assert not is_open
    return found


@pytest.mark.parametrize(
    ("outcome", "deferrable"),
    [("succeeds", False), ("fails", False), ("is killed", False), ("succeeds", True), ("fails", True)],
    ids=["succeeds", "fails", "is killed", "succeeds, deferred", "fails, deferred"],
)
def test_group_holds_the_lines_of_the_invocation_and_none_of_the_task(
    outcome, deferrable, make_task, kernel_emulator, capsys, monkeypatch, request
):
    """While lines come, polls fail and the status changes; both are logged."""
    monkeypatch.setattr("airflow_provider_kernel.operators.invocation.FIRST_POLL_SECONDS", 0.0)
    written, has_logged_all = threading.Event(), threading.Event()
    write = InvocationLog.write

    def write_and_tell(self, news):
        write(self, news)
        written.set()

    def act(ctx):
        ctx.log("before")
        assert written.wait(10)
        poll = Fault("GET", "/invocations/*", status=503)
        kernel_emulator.add_fault(poll)
        kernel_emulator.wait_for(
            "GET", "/invocations/*", len(kernel_emulator.requests("GET", "/invocations/*")) + 2
        )
        ctx.log("after")
        has_logged_all.set()
        if outcome == "is killed":
            signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
            ctx.wait()
        if outcome == "fails":
            raise ValueError("wrong")

    monkeypatch.setattr(InvocationLog, "write", write_and_tell)
    kernel_emulator.register("app", "act", act)
    running = []

    class Operator(KernelInvokeOperator):
        def execute(self, context):
            running.append(self)
            return super().execute(context)

    task = make_task(
        Operator,
        app_name="app",
        action_name="act",
        deferrable=deferrable,
        poll_interval=0.05,
        max_tries=0,
    )
    before = signal.signal(signal.SIGUSR1, lambda *_: running[0].on_kill())
    request.addfinalizer(lambda: signal.signal(signal.SIGUSR1, before))
    assert task.run_through().state == ("success" if outcome == "succeeds" else "failed")
    output = capsys.readouterr().out
    assert has_logged_all.is_set()
    assert "polling again" in output
    assert "kernel | after" in output
    assert ("killed" in (kernel_emulator.invocations[0].output or "")) == (outcome == "is killed")
    assert lines_folded_away(output) == []


def test_log_of_a_wait_that_is_given_up_ends_the_group_and_has_the_link(
    make_task, kernel_emulator, capsys, monkeypatch
):
    def act(ctx):
        ctx.log("hello")
        ctx.wait()

    written = threading.Event()
    write = InvocationLog.write

    def write_and_tell(self, news):
        write(self, news)
        written.set()

    def wait_until_written(hook, invocation_id, **options):
        assert written.wait(10)
        raise RuntimeError("enough")

    monkeypatch.setattr(KernelHook, "wait_for_invocation", wait_until_written)
    monkeypatch.setattr(InvocationLog, "write", write_and_tell)
    kernel_emulator.register("app", "act", act)
    assert make_task(KernelInvokeOperator, app_name="app", action_name="act", max_tries=0).run().state == "failed"
    output = capsys.readouterr().out
    (invocation,) = kernel_emulator.invocations
    told = [
        f"::group::Log of invocation {invocation.id}",
        "kernel | hello",
        "::endgroup::",
        f"The task no longer waits for invocation {invocation.id} after ",
        "(RuntimeError)",
    ]
    output = output[output.index(told[0]) :]
    places = [output.index(text) for text in told]
    assert places == sorted(places)
