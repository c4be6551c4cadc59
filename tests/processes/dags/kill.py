"""Tasks that the tests kill."""

import logging
import os

import structlog._output
from airflow.sdk import DAG

from airflow_provider_kernel.operators.invocation import KernelInvokeOperator


def never_return():
    """Tell the test that the main thread is here, and stay; a signal handler runs on top of this."""
    with open(os.environ["IN_LOG_CALL"], "w") as told:
        told.write("in the log call")
    never, _ = os.pipe()
    while True:
        os.read(never, 1)


class StuckInALogCall(KernelInvokeOperator):
    """
    Invoke as usual, but never come back from the log call of the task's logger that says so.

    As if the log's pipe were full: the logger's lock is held, and the main thread stays inside the call.
    """

    def run_with_hook(self, context):
        write = structlog._output.BytesLogger.msg

        def stuck(logger, message):
            if b"was accepted" not in message:
                return write(logger, message)
            with logger._lock:
                return never_return()

        for level in ("msg", "debug", "info", "warning", "error"):
            setattr(structlog._output.BytesLogger, level, stuck)
        return super().run_with_hook(context)


class StuckInAStandardLogCall(KernelInvokeOperator):
    """The same in a call of the standard library's logging, whose handler has a lock of its own."""

    def run_with_hook(self, context):
        handler = logging.getLogger().handlers[0]
        emit = handler.emit
        handler.emit = lambda record: never_return() if "trying" in record.getMessage() else emit(record)
        wait = self.hook.wait_for_invocation

        def log_and_wait(*arguments, **options):
            logging.getLogger("kernel").warning("trying")
            return wait(*arguments, **options)

        self.hook.wait_for_invocation = log_and_wait
        return super().run_with_hook(context)


with DAG("kill", schedule=None):
    arguments = {"app_name": "demo", "action_name": "browsers", "poll_interval": 0.05}
    payload = {"count": 2, "seconds": 600}
    KernelInvokeOperator(task_id="invoke", payload=payload, **arguments)
    KernelInvokeOperator(task_id="keep", payload=payload, cancel_on_kill=False, **arguments)
    StuckInALogCall(task_id="stuck_in_a_log_call", payload=payload, **arguments)
    StuckInAStandardLogCall(task_id="stuck_in_a_standard_log_call", payload=payload, **arguments)
