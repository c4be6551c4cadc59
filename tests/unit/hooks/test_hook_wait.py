"""The hook waits for an invocation."""

from __future__ import annotations

import time

import pytest

from airflow_provider_kernel.client.errors import (
    KernelAuthenticationError,
    KernelLostContactError,
    KernelNotFoundError,
)
from airflow_provider_kernel.client.resources.invocations.errors import (
    KernelInvocationTimeoutError,
)
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.testing import Fault


@pytest.fixture
def waits():
    return []


@pytest.fixture
def patient(kernel, connect, waits):
    """A hook that records its waits and does not sleep."""
    connect(host=kernel.base_url)
    with KernelHook("my_kernel", sleep=waits.append) as hook:
        yield hook


@pytest.mark.parametrize("status", ["succeeded", "failed"])
def test_hook_wait_returns_a_succeeded_or_failed_invocation(kernel, connect, status):
    def end(seconds):
        kernel.finish(run, status, {"n": 1})

    connect(host=kernel.base_url)
    with KernelHook("my_kernel", sleep=end) as hook:
        run = hook.invoke("demo", "hang").id
        ended = hook.wait_for_invocation(run)
    assert (ended.id, ended.status, ended.parsed_output()) == (run, status, {"n": 1})
    assert kernel.requests("PATCH") == ()


def test_hook_wait_logs_status_changes_and_poll_errors(kernel, connect, log):
    def end_after_four_polls(seconds):
        if len(kernel.requests("GET")) == 4:
            kernel.finish(run)

    connect(host=kernel.base_url)
    kernel.add_fault(Fault("GET", "/invocations/*", (2, 3), status=500))
    with KernelHook("my_kernel", sleep=end_after_four_polls) as hook:
        run = hook.invoke("demo", "hang").id
        kernel.wait_for_status(run, "running")
        hook.wait_for_invocation(run)
    assert [level for level, _ in log] == [20, 30]
    first, poll_error = (text for _, text in log)
    assert first == f"Invocation {run} is running"
    assert poll_error.startswith(f"GET /invocations/{run}: 500 ")
    assert poll_error.endswith("; polling again")


def test_hook_wait_polls_at_its_poll_interval(kernel, patient, waits):
    run = patient.invoke("demo", "hang").id
    kernel.add_fault(Fault("GET", "/invocations/*", range(1, 6), body={"id": run, "status": "running"}))
    kernel.finish(run)
    patient.wait_for_invocation(run, poll_interval=0.2)
    assert len(waits) == 5
    assert all(0.17 < wait < 0.23 for wait in waits)


def test_hook_wait_polls_every_ten_seconds_by_default(kernel, patient, waits):
    run = patient.invoke("demo", "hang").id
    kernel.add_fault(Fault("GET", "/invocations/*", range(1, 20), body={"id": run, "status": "running"}))
    kernel.finish(run)
    patient.wait_for_invocation(run)
    assert len(waits) == 19
    assert 0.4 < waits[0] < 0.6
    assert 8.9 < waits[-1] < 11.1


@pytest.mark.usefixtures("refused_key_ends_waits_soon")
def test_hook_wait_gives_up_on_a_key_that_stays_refused(kernel, patient):
    run = patient.invoke("demo", "hang").id
    kernel.add_fault(Fault("GET", "/invocations/*", range(2, 99), status=401))
    with pytest.raises(KernelLostContactError, match=f"No access to invocation {run}"):
        patient.wait_for_invocation(run)


def test_hook_wait_raises_at_once_for_a_key_that_never_worked(kernel, patient, waits):
    run = patient.invoke("demo", "hang").id
    kernel.add_fault(Fault("GET", "/invocations/*", None, status=401))
    with pytest.raises(KernelAuthenticationError):
        patient.wait_for_invocation(run)
    assert waits == []


def test_hook_wait_stops_at_the_deadline_without_cancelling(kernel, patient):
    run = patient.invoke("demo", "hang").id
    with pytest.raises(KernelInvocationTimeoutError, match=f"Invocation {run} did not end in time"):
        patient.wait_for_invocation(run, deadline=time.time())
    assert [request.method for request in kernel.journal] == ["POST", "GET"]
    assert kernel.invocation(run).status in ("queued", "running")


def test_hook_wait_returns_an_ended_invocation_after_the_deadline(kernel, patient):
    run = patient.invoke("demo", "hang").id
    kernel.finish(run, "failed")
    assert patient.wait_for_invocation(run, deadline=0.0).status == "failed"


def test_hook_wait_raises_at_once_for_an_unknown_invocation(kernel, patient, waits):
    with pytest.raises(KernelNotFoundError):
        patient.wait_for_invocation("abc")
    assert waits == []


def test_hook_wait_tolerates_not_found_for_a_new_invocation(kernel, patient, waits):
    run = patient.invoke("demo", "hang").id
    kernel.finish(run)
    kernel.add_fault(Fault("GET", "/invocations/*", (1, 2), status=404))
    assert patient.wait_for_invocation(run, is_new=True).status == "succeeded"
    assert len(waits) == 3


def test_hook_wait_polls_a_new_invocation_after_a_short_pause(kernel, patient, waits):
    """A poll right after the create tells nothing."""
    run = patient.invoke("demo", "hang").id
    kernel.finish(run)
    assert patient.wait_for_invocation(run, is_new=True).status == "succeeded"
    assert len(kernel.requests("GET")) == 1
    (seconds,) = waits
    assert 0.4 < seconds < 0.6
