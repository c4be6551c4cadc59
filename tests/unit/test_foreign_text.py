"""Text of somebody else reaches the log, and the error of a task, as one line that shows all it holds."""

from __future__ import annotations

import logging

import pytest
import structlog
from airflow.sdk import literal
from support.hostile_text import EVIL, check_harmless

from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.notifications.kernel import InvocationEnd, KernelInvocationNotifier
from airflow_provider_kernel.operators.invocation import (
    KernelCancelInvocationOperator,
    KernelInvokeOperator,
    KernelUpdateInvocationOperator,
)
from airflow_provider_kernel.operators.invocation_task import KernelInvocationTaskOperator
from airflow_provider_kernel.operators.orphans import KernelCancelOrphansOperator
from airflow_provider_kernel.sensors.invocation import KernelInvocationSensor
from airflow_provider_kernel.testing import Fault

#: What a server may send in the place of an id or a name: it is printable.
MARK = "x ::group::hidden ::error::no"
#: What only the log page's own group of an invocation's lines may be.
OWN_MARKS = ("::group::Log of invocation ", "::endgroup::", "::group::Post Execute")


@pytest.fixture
def logged(caplog, monkeypatch):
    """Take down what is logged in this process: the texts, without those of Airflow's own loggers."""
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("AIRFLOW__LOGGING__LOGGING_LEVEL", "INFO")
    with structlog.testing.capture_logs() as events:
        yield (
            lambda: (
                [
                    record.getMessage()
                    for record in caplog.records
                    if record.name.startswith("airflow_provider_kernel")
                ]
                + [str(event["event"]) for event in events]
            )
        )


def fail():
    raise ValueError(EVIL)


def refuse(kernel, method, path, status, nth=1):
    body = {"code": "busy", "message": EVIL, "details": [{"code": EVIL, "message": EVIL}]}
    kernel.add_fault(Fault(method, path, nth, status=status, body=body, headers={"x-request-id": MARK}))


def answer(kernel, **fields):
    """Let the next look at an invocation find what a server can send in each of its fields."""
    body = {"id": "i", "status": "failed", "app_name": EVIL, "action_name": EVIL, "status_reason": EVIL, **fields}
    kernel.add_fault(Fault("GET", "/invocations/*", None, status=200, body=body))


CASES = {
    "template of a start": (KernelInvokeOperator, {"app_name": EVIL, "action_name": EVIL, "version": EVIL}, None),
    "id of a cancellation": (KernelCancelInvocationOperator, {"invocation_id": literal(EVIL)}, None),
    "id of a sensor": (KernelInvocationSensor, {"invocation_id": literal(EVIL)}, None),
    "id that could be one": (KernelInvocationSensor, {"invocation_id": MARK}, None),
    "status of an update": (KernelUpdateInvocationOperator, {"invocation_id": "i", "status": literal(EVIL)}, None),
    "connection id": (KernelInvocationSensor, {"invocation_id": "i", "kernel_conn_id": EVIL}, None),
    "refusal of a start": (
        KernelInvokeOperator,
        {"app_name": "demo", "action_name": "echo"},
        lambda kernel: refuse(kernel, "POST", "/invocations", 400),
    ),
    "busy server": (
        KernelInvokeOperator,
        {"app_name": "demo", "action_name": "echo", "poll_interval": 0.01},
        lambda kernel: refuse(kernel, "GET", "/invocations/*", 503),
    ),
    "error page": (
        KernelInvocationSensor,
        {"invocation_id": "i"},
        lambda kernel: kernel.add_fault(Fault("GET", "/invocations/*", 1, status=404, body=EVIL)),
    ),
    "reason of a failure": (KernelInvocationSensor, {"invocation_id": "i"}, answer),
    "names of a success": (
        KernelInvocationSensor,
        {"invocation_id": MARK},
        lambda kernel: answer(kernel, id=MARK, status="succeeded", started_at=EVIL, finished_at=EVIL),
    ),
    "unknown status": (
        KernelCancelInvocationOperator,
        {"invocation_id": MARK},
        lambda kernel: answer(kernel, id=MARK, status=MARK),
    ),
    "error of a function": (KernelInvocationTaskOperator, {"python_callable": fail, "invocation_id": MARK}, None),
}


@pytest.mark.parametrize("case", CASES)
def test_task_with_foreign_text_logs_harmless_lines(case, run, logged, kernel_emulator):
    operator_class, arguments, prepare = CASES[case]
    if prepare is not None:
        prepare(kernel_emulator)
    result = run(operator_class, max_tries=0, **arguments)
    check_all(logged(), result.error)


def test_log_lines_and_failure_of_an_app_are_harmless(run, logged, kernel_emulator):
    def act(ctx):
        ctx.log(EVIL)
        raise RuntimeError(EVIL)

    kernel_emulator.register("app", "act", act)
    result = run(KernelInvokeOperator, app_name="app", action_name="act", poll_interval=0.01, max_tries=0)
    assert any(text.startswith(r"kernel | x\n[2026") for text in logged())
    check_all(logged(), result.error)


def test_marks_of_others_are_harmless(run, logged, kernel_emulator, execution_api):
    execution_api.dag_run_states = {"over": "success"}
    with KernelHook() as hook:
        hook.invoke("demo", "hang", {"_airflow": {"dag_id": "d", "run_id": "over", "task_id": EVIL, "token": "t"}})
        hook.invoke("demo", "hang", {"_airflow": {"dag_id": EVIL, "run_id": EVIL, "task_id": EVIL, "token": "t"}})
    result = run(KernelCancelOrphansOperator, app_name="demo")
    assert any("Task succeeded" in text for text in logged())
    check_all(logged(), result.error)


def test_notifier_with_foreign_text_logs_harmless_lines(kernel_emulator, kernel_connection, logged):
    answer(kernel_emulator, id=MARK, status="succeeded")
    with KernelHook() as hook:
        hook.get_conn().run(InvocationEnd(MARK, reason=EVIL).flow())
    notifier = KernelInvocationNotifier()
    notifier.invocation_id = "None"  # rendered
    notifier.notify({"run_id": EVIL})
    assert len(logged()) >= 2
    check_all(logged())


def check_all(texts, error=None):
    assert texts
    for text in texts:
        if not text.startswith(OWN_MARKS):
            check_harmless(text)
    # Airflow logs the whole chain. The error of the user's own function is the user's.
    while error is not None and not (type(error) is ValueError and str(error) == EVIL):
        check_harmless(str(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
