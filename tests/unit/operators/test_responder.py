"""The responder of a waiting invocation: kills at moments that a whole task can hardly be brought into."""

import threading
import time

import pytest
from support.triggerer import task_instance

from airflow_provider_kernel.client.errors import KernelTaskKilledError
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle.kill import KILL_SECONDS
from airflow_provider_kernel.lifecycle.names import ownership_key
from airflow_provider_kernel.lifecycle.ownership import OwnershipRecord
from airflow_provider_kernel.operators import _responder
from airflow_provider_kernel.operators._responder import InvocationResponder
from airflow_provider_kernel.testing import Fault


@pytest.fixture
def supervisor(supervisor):
    supervisor.states["t"] = "running"
    return supervisor


@pytest.fixture
def respond(kernel_emulator, kernel_connection, supervisor):
    """Make a responder for an invocation that waits."""

    def respond(*, retries_left=False):
        with KernelHook() as hook:
            invocation_id = hook.invoke("demo", "hang").id
            return InvocationResponder(
                hook.config,
                invocation_id,
                ti=task_instance(),
                kernel_conn_id="kernel_default",
                retries_left=retries_left,
            )

    return respond


def threads():
    return {
        thread for thread in threading.enumerate() if thread.name.startswith(("kernel-responder", "kernel-fence"))
    }


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


def test_kill_of_a_responder_goes_on_through_errors_for_most_of_the_five_seconds(
    respond, supervisor, kernel_emulator
):
    """F2: 500s for longer than three attempts take."""
    supervisor.states["t"] = "failed"
    responder = respond()
    kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", nth=None, status=500))
    killing = threading.Thread(target=responder.kill, daemon=True)
    killing.start()
    kernel_emulator.wait_for("PATCH", "/invocations/*", count=6)
    kernel_emulator.clear_faults()
    killing.join(10)
    assert kernel_emulator.invocation(responder.invocation_id).status == "failed"
    responder.close()


def test_failure_is_sent_again_whatever_kernel_answered(respond, kernel_emulator):
    kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", nth=1, status=401))
    responder = respond()
    responder.fail("ValueError: x")
    assert kernel_emulator.invocation(responder.invocation_id).output_json == {"error": "ValueError: x"}
    responder.close()


def test_end_of_a_kill_that_failed_goes_on_in_the_main_thread(respond, supervisor, kernel_emulator, monkeypatch):
    monkeypatch.setattr(_responder, "LAST_URGENT_ATTEMPT_SECONDS", 0.2)
    supervisor.states["t"] = "failed"
    kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", nth=None, status=500))
    responder = respond()
    responder.kill()
    assert kernel_emulator.invocation(responder.invocation_id).status == "running"
    kernel_emulator.clear_faults()
    with pytest.raises(KernelTaskKilledError):
        responder.end_after_kill()
    invocation = kernel_emulator.invocation(responder.invocation_id)
    assert invocation.output_json == {"error": "The Airflow task was marked as failed"}
    responder.close()


@pytest.fixture
def another_try_responds(supervisor):
    """Let another try, which a clear has added, be the one that works for the invocation by now."""

    def take_over(responder):
        record = OwnershipRecord(responder.invocation_id, "", 2, kernel_conn_id="kernel_default", is_owned=False)
        supervisor.xcoms["t", -1, ownership_key("response")] = record._asdict()

    return take_over


@pytest.mark.parametrize("how", ["kill", "fail"])
def test_last_try_that_comes_back_after_a_clear_leaves_the_invocation_to_the_new_try(
    how, respond, another_try_responds, kernel_emulator
):
    """F1: it was stopped, so it does not know that there is another try; its task is running."""
    responder = respond(retries_left=False)
    another_try_responds(responder)
    responder.kill() if how == "kill" else responder.fail("ValueError: x")
    assert kernel_emulator.invocation(responder.invocation_id).status == "running"
    assert kernel_emulator.requests("PATCH") == ()
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
