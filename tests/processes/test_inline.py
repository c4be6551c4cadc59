"""A signal to the commands that run a deferrable task without a triggerer: ``dag.test()`` and its relatives."""

import signal
import sys

import pytest
from support.airflow_home import AIRFLOW, INLINE_DAGS

from airflow_provider_kernel.testing import Fault, KernelEmulator

COMMANDS = {
    "dag.test()": [sys.executable, str(INLINE_DAGS / "inline.py")],
    "airflow dags test": [AIRFLOW, "dags", "test", "inline"],
    "airflow tasks test": [AIRFLOW, "tasks", "test", "inline", "waits"],
}
#: How long a command may go on after the signal: ten seconds, and as long again to end a process on a busy machine.
GRACE_SECONDS = 20.0


@pytest.fixture(autouse=True)
def ctrl_c_is_not_ignored():
    """A shell lets what it runs in the background ignore SIGINT, and a child inherits that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def kernel():
    with KernelEmulator() as emulator:
        yield emulator


def trigger_waits(kernel):
    """Wait until the inline trigger polls, and return the invocation's id."""
    (invocation,) = kernel.wait_for_invocations(1, timeout=60)
    kernel.wait_until(lambda: kernel.invocation(invocation.id).browsers == 2, timeout=30)
    # The trigger follows the invocation's log while it waits; the worker has not got so far.
    kernel.wait_for("GET", f"/invocations/{invocation.id}/events", timeout=30)
    return invocation.id


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize("command", COMMANDS)
def test_signal_to_an_inline_trigger_cancels_the_invocation(command, number, home, kernel):
    with home.running(COMMANDS[command], kernel) as process:
        invocation_id = trigger_waits(kernel)
        process.send_signal(number)
        process.wait(GRACE_SECONDS)
    invocation = kernel.invocation(invocation_id)
    assert (invocation.status, invocation.browsers) == ("failed", 0), home.output.read_text()
    assert "The Airflow task was killed" in invocation.output
    assert process.returncode != 0
    assert len(kernel.invocations) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_signal_to_an_inline_trigger_while_kernel_hangs_ends_the_command(number, home, kernel):
    with home.running(COMMANDS["airflow dags test"], kernel) as process:
        trigger_waits(kernel)
        fault = kernel.add_fault(Fault(None, None, nth=None, hold=True))
        process.send_signal(number)
        try:
            process.wait(GRACE_SECONDS)
        finally:
            fault.release()
    assert "Next in line" in home.output.read_text()


def test_second_ctrl_c_to_an_inline_trigger_leaves_one_more_attempt(home, kernel):
    with home.running(COMMANDS["airflow dags test"], kernel) as process:
        invocation_id = trigger_waits(kernel)
        fault = kernel.add_fault(Fault("PATCH", "/invocations/*", hold=True, status=500))
        process.send_signal(signal.SIGINT)
        fault.wait_until_held()
        process.send_signal(signal.SIGINT)
        process.wait(GRACE_SECONDS)
        fault.release()
    assert kernel.invocation(invocation_id).status == "failed", home.output.read_text()
    assert "there is time for one more attempt" in home.output.read_text()
