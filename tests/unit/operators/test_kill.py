"""A kill at an awkward moment: what the main thread holds, and what another thread of the task is doing."""

import logging
import signal
import threading
import time
from datetime import timedelta

import pytest

from airflow_provider_kernel.client.errors import KernelTaskKilledError
from airflow_provider_kernel.lifecycle import owner
from airflow_provider_kernel.lifecycle.kill import KILL_SECONDS
from airflow_provider_kernel.operators.invocation import KernelInvokeOperator
from airflow_provider_kernel.testing import Fault

HANG = {"app_name": "demo", "action_name": "hang", "poll_interval": 0.01, "stream_logs": False}


class LogHandler(logging.Handler):
    """Call a function with every record."""

    def __init__(self, on_record):
        super().__init__()
        self.emit = on_record


@pytest.fixture
def log_handler():
    """Add a handler to the package's logger, for the time of the test."""
    logger = logging.getLogger("airflow_provider_kernel")
    handlers = []

    def add(on_record):
        handlers.append(LogHandler(on_record))
        logger.addHandler(handlers[-1])
        return handlers[-1]

    yield add
    for handler in handlers:
        logger.removeHandler(handler)


@pytest.fixture
def kill_by_signal():
    """Call ``on_kill`` in a signal handler on the main thread, whatever it is doing."""
    operators = []
    before = signal.signal(signal.SIGUSR1, lambda *_: [operator.on_kill() for operator in operators])

    def kill(operator):
        operators.append(operator)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    yield kill
    signal.signal(signal.SIGUSR1, before)


def test_kill_in_the_backoff_of_an_ordinary_cancel_still_cancels(run, kernel_emulator, log_handler, kill_by_signal):
    operators = []

    class FailsWhileWaiting(KernelInvokeOperator):
        def sleep(self, seconds):
            operators.append(self)
            raise RuntimeError("the task fails by itself")

    def kill_in_the_backoff(record):
        if "PATCH" in record.getMessage() and "503" in record.getMessage():
            kill_by_signal(operators[0])

    log_handler(kill_in_the_backoff)
    kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", status=503, headers={"Retry-After": "2"}))
    run(FailsWhileWaiting, max_tries=0, **HANG)
    assert kernel_emulator.invocations[0].status == "failed"


def test_kill_returns_although_the_main_thread_holds_the_lock_of_a_log_handler(run, kernel_emulator, log_handler):
    lines = []
    handler = log_handler(lambda record: lines.append(record.getMessage()))
    seconds = []

    class KilledInALogCall(KernelInvokeOperator):
        def sleep(self, seconds_to_sleep):
            if not seconds:
                with handler.lock:
                    started = time.monotonic()
                    self.on_kill()
                    seconds.append(time.monotonic() - started)
            super().sleep(seconds_to_sleep)

    result = run(KilledInALogCall, **HANG)
    assert isinstance(result.error, KernelTaskKilledError)
    assert kernel_emulator.invocations[0].status == "failed"
    assert seconds[0] < KILL_SECONDS / 2


def test_execution_timeout_does_not_shorten_an_end_that_has_begun(run, kernel_emulator, monkeypatch):
    """Airflow calls on_kill after the timeout, and that has little time; the outage lasts longer."""
    monkeypatch.setattr(owner, "WORKER_END_SECONDS", 20.0)
    monkeypatch.setattr(owner, "KILL_SECONDS", 0.3)
    monkeypatch.setattr(owner, "LAST_URGENT_ATTEMPT_SECONDS", 0.2)

    class FailsWhileWaiting(KernelInvokeOperator):
        def sleep(self, seconds):
            raise RuntimeError("the task fails by itself")

    kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", seconds=3.0, status=503))
    result = run(FailsWhileWaiting, max_tries=0, execution_timeout=timedelta(seconds=1.5), **HANG)
    assert type(result.error).__name__ == "AirflowTaskTimeout"
    assert kernel_emulator.invocations[0].status == "failed"
