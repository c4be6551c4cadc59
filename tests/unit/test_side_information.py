"""What only informs never ends the work: links, the streamed log, callbacks of a wait, log lines."""

from __future__ import annotations

import threading

import pytest

from airflow_provider_kernel.client.dashboard import dashboard_link
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.operators.invocation import KernelInvokeOperator
from airflow_provider_kernel.sensors.invocation import KernelInvocationSensor
from airflow_provider_kernel.task_log import writer

TALK = {
    "app_name": "demo",
    "action_name": "logs",
    "payload": {"lines": 3, "per_second": 100},
    "poll_interval": 0.01,
}


def fail(*args, **options):
    raise LookupError("no")


@pytest.fixture(params=["blocking", "deferred"])
def invoke(request, make_task, kernel_emulator, monkeypatch):
    """Run a task that waits in either way; return its state, and whether the invocation was left to succeed."""
    monkeypatch.setattr("airflow_provider_kernel.operators.invocation.FIRST_POLL_SECONDS", 0.0)

    def invoke(**arguments):
        task = make_task(KernelInvokeOperator, deferrable=request.param == "deferred", **{**TALK, **arguments})
        state = task.run_through().state
        return state, kernel_emulator.requests("PATCH") == ()

    return invoke


def test_task_succeeds_when_the_log_stream_fails(invoke, monkeypatch, capsys):
    monkeypatch.setattr(writer.InvocationLog, "write", fail)
    assert invoke() == ("success", True)
    assert "log lines are not shown from here on: LookupError in fail()" in capsys.readouterr().out


def test_task_succeeds_when_no_thread_can_be_started_for_the_log_stream(make_task, kernel_emulator, monkeypatch):
    start = threading.Thread.start

    def refuse(thread):
        if thread.name == "kernel-log-stream":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert make_task(KernelInvokeOperator, **TALK).run().state == "success"
    assert kernel_emulator.requests("PATCH") == ()


def test_task_succeeds_when_the_limit_of_log_streams_cannot_be_read(invoke, monkeypatch):
    monkeypatch.setattr("airflow_provider_kernel.task_log.afollow.stream_limiter", fail)
    assert invoke() == ("success", True)


def test_task_succeeds_when_no_log_line_can_be_written(invoke, monkeypatch):
    monkeypatch.setattr("airflow_provider_kernel.client.safe_logger.escape_untrusted", fail)
    assert invoke() == ("success", True)


@pytest.mark.parametrize("operator_class", [KernelInvokeOperator, KernelInvocationSensor])
def test_task_succeeds_when_its_link_cannot_be_made(
    operator_class, run, kernel_emulator, kernel_connection, monkeypatch
):
    monkeypatch.setattr("airflow_provider_kernel.client.dashboard.dashboard_link", fail)
    arguments = TALK
    if operator_class is KernelInvocationSensor:
        with KernelHook() as hook:
            arguments = {"invocation_id": hook.invoke("demo", "echo", "x").id, "poke_interval": 0.01}
    assert run(operator_class, **arguments).state == "success"
    assert kernel_emulator.requests("PATCH") == ()


def test_dashboard_link_takes_half_a_surrogate_pair():
    assert dashboard_link("https://d.example/{app_name}", "i", app_name="a\ud800") == "https://d.example/a%3F"


def test_wait_goes_on_when_a_callback_fails(kernel_emulator, kernel_connection, caplog):
    caplog.set_level("WARNING")
    kernel_emulator.register("app", "browse", lambda ctx: ctx.create_browser() and ctx.wait(0.2))
    with KernelHook() as hook:
        invocation_id = hook.invoke("app", "browse").id
        invocation = hook.wait_for_invocation(invocation_id, poll_interval=0.01, on_browser=fail)
    assert invocation.status == "succeeded"
    (told,) = [record.getMessage() for record in caplog.records if "callback" in record.getMessage()]
    assert told.startswith("A callback failed: LookupError in fail()")
