"""The responder of a waiting invocation: kills at moments that a whole task can hardly be brought into."""

import threading
import time

import pytest
from support.triggerer import Supervisor, task_instance

from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle.kill import KILL_SECONDS
from airflow_provider_kernel.operators._responder import InvocationResponder
from airflow_provider_kernel.testing import Fault


@pytest.fixture
def supervisor(monkeypatch):
    from airflow.sdk.execution_time import task_runner

    supervisor = Supervisor(states={"t": "running"})
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    return supervisor


@pytest.fixture
def respond(kernel_emulator, kernel_connection, supervisor):
    """Make a responder for an invocation that waits."""

    def respond(*, retries_left=False):
        with KernelHook() as hook:
            invocation_id = hook.invoke("demo", "hang").id
            return InvocationResponder(hook.config, invocation_id, ti=task_instance(), retries_left=retries_left)

    return respond


def threads():
    return {thread for thread in threading.enumerate() if thread.name.startswith("kernel-responder")}


def test_kill_during_the_backoff_of_a_failure_ends_the_invocation(respond, supervisor, kernel_emulator):
    kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", status=503, headers={"Retry-After": "60"}))
    responder = respond()
    failing = threading.Thread(target=responder.fail, args=("ValueError: x",), daemon=True)
    failing.start()
    kernel_emulator.wait_for("PATCH", "/invocations/*")
    supervisor.states["t"] = "failed"
    began = time.monotonic()
    responder.kill()
    assert time.monotonic() - began < KILL_SECONDS
    failing.join(10)
    invocation = kernel_emulator.invocation(responder.invocation_id)
    assert invocation.output_json == {"error": "The Airflow task was marked as failed"}
    responder.close()


def test_kill_after_the_task_has_left_the_invocation_to_the_next_try_still_decides(
    respond, supervisor, kernel_emulator
):
    responder = respond(retries_left=True)
    responder.close()
    supervisor.states["t"] = "success"
    responder.kill()
    invocation = kernel_emulator.invocation(responder.invocation_id)
    assert invocation.output_json == {
        "error": "The Airflow task was marked as success by hand, so that there is no output"
    }


def test_kill_after_the_response_sends_nothing(respond, supervisor, kernel_emulator):
    responder = respond()
    responder.complete({"orders": 42})
    sent = len(kernel_emulator.journal)
    supervisor.states["t"] = "failed"
    responder.kill()
    responder.close()
    assert len(kernel_emulator.journal) == sent
    assert supervisor.asked == []
    assert kernel_emulator.invocation(responder.invocation_id).output_json == {"orders": 42}


def test_second_kill_waits_for_the_first_and_sends_nothing_more(respond, supervisor, kernel_emulator):
    supervisor.states["t"] = "failed"
    responder = respond()
    fault = kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", delay=0.3))
    first = threading.Thread(target=responder.kill, daemon=True)
    first.start()
    kernel_emulator.wait_for("PATCH", "/invocations/*")
    responder.kill()
    assert fault
    assert kernel_emulator.invocation(responder.invocation_id).status == "failed"
    assert len(kernel_emulator.requests("PATCH")) == 1
    first.join(10)
    responder.close()


@pytest.mark.parametrize("kills", [False, True])
def test_close_ends_the_threads_of_a_responder_that_has_responded(kills, respond, supervisor):
    before = threads()
    responder = respond()
    own = threads() - before
    assert len(own) == 3
    if kills:
        supervisor.states["t"] = "failed"
        responder.kill()
    else:
        responder.complete(1)
    responder.close()
    for thread in own:
        thread.join(10)
    assert not any(thread.is_alive() for thread in own)
