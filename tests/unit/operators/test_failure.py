"""What a user sees of a task that fails: one line that says why, and one short traceback."""

import logging
from itertools import takewhile

import pytest
import structlog
from structlog.tracebacks import extract

from airflow_provider_kernel.client.errors import KernelError
from airflow_provider_kernel.client.safe_logger import get_logger
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.operators._failure import log_failure
from airflow_provider_kernel.operators.invocation import (
    KernelCancelInvocationOperator,
    KernelCompleteInvocationOperator,
    KernelInvokeOperator,
)
from airflow_provider_kernel.operators.orphans import KernelCancelOrphansOperator
from airflow_provider_kernel.sensors.invocation import KernelInvocationSensor
from airflow_provider_kernel.testing import Fault

#: Airflow's own are six or seven.
MAX_FRAMES = 12
#: What Airflow's log page shows of a line at a width of 1400 pixels.
WIDEST = 95


def failing_app(kernel):
    kernel.register("app", "broken", lambda ctx: ctx.fail("the shop is closed"))
    return {"app_name": "app", "action_name": "broken"}


def failed_invocation(kernel):
    with KernelHook() as hook:
        started = hook.invoke("demo", "hang").id
    kernel.finish(started, "failed", {"error": "the shop is closed"})
    return {"invocation_id": started}


def refused_key(kernel):
    kernel.add_fault(Fault("*", "**", status=401, nth=None))
    return {"app_name": "demo", "action_name": "echo"}


def unreadable_list(kernel):
    kernel.add_fault(Fault("GET", "/invocations", status=403, nth=None))
    return {"app_name": "demo"}


CASES = {
    "invocation failed": (KernelInvokeOperator, failing_app, {}, "KernelInvocationFailedError: "),
    "invocation failed, deferred": (
        KernelInvokeOperator,
        failing_app,
        {"deferrable": True},
        "KernelInvocationFailedError: ",
    ),
    "key refused": (KernelInvokeOperator, refused_key, {}, "KernelAuthenticationError: "),
    "sensor": (KernelInvocationSensor, failed_invocation, {}, "KernelInvocationFailedError: "),
    "already ended": (KernelCompleteInvocationOperator, failed_invocation, {}, "KernelInvocationFinishedError: "),
    "not found": (KernelCancelInvocationOperator, lambda _: {"invocation_id": "nope"}, {}, "KernelNotFoundError: "),
    "template": (KernelCancelInvocationOperator, lambda _: {"invocation_id": "{{ 5 }}"}, {}, "Kernel"),
    "sweep": (KernelCancelOrphansOperator, unreadable_list, {}, "KernelPermissionError: "),
}


@pytest.fixture
def failure(make_task, kernel_emulator, kernel_connection):
    def run(operator, prepare, arguments):
        task = make_task(operator, **prepare(kernel_emulator), **arguments)
        with structlog.testing.capture_logs() as lines:
            result = task.run_through()
        return result.error, lines

    return run


@pytest.mark.parametrize(("operator", "prepare", "arguments", "begins"), CASES.values(), ids=CASES)
def test_failing_task_says_why_in_its_last_lines(operator, prepare, arguments, begins, failure):
    _, lines = failure(operator, prepare, arguments)
    until = next(i for i, line in enumerate(lines) if line["event"] == "Task failed with exception")
    shown = [line for line in lines[:until] if line["log_level"] != "debug"]
    last = [*takewhile(lambda line: line["log_level"] == "error", reversed(shown))][::-1]
    assert last[0]["event"].startswith(begins)
    assert all(len(line["event"]) <= WIDEST for line in last)


@pytest.mark.parametrize(("operator", "prepare", "arguments", "begins"), CASES.values(), ids=CASES)
def test_failing_task_shows_one_exception_with_few_frames(operator, prepare, arguments, begins, failure):
    error, _ = failure(operator, prepare, arguments)
    (shown,) = extract(type(error), error, error.__traceback__).stacks
    assert begins.rstrip(": ") in f"{shown.exc_type}: {shown.exc_value}"
    assert len(shown.frames) <= MAX_FRAMES


def test_error_of_a_subclass_of_the_operator_keeps_its_traceback(make_task, kernel_connection):
    class Mine(KernelInvokeOperator):
        def run_with_hook(self, context):
            raise ZeroDivisionError

    error = make_task(Mine, app_name="demo", action_name="echo").run().error
    (shown,) = extract(type(error), error, error.__traceback__).stacks
    assert shown.frames[-1].name == "run_with_hook"


def test_error_of_an_earlier_poll_has_no_traceback_to_log(caplog):
    caplog.set_level(logging.DEBUG)
    log_failure(KernelError("It did not end"), get_logger("test"))
    assert caplog.messages == ["KernelError: It did not end"]
