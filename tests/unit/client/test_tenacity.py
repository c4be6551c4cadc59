"""What the flow of retries needs of tenacity, the oldest and the newest allowed: tests/versions.py runs both."""

from __future__ import annotations

import threading

import pytest
from tenacity import DoAttempt, DoSleep, RetryCallState

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.flow import Sleep, with_retries
from airflow_provider_kernel.client.http.request import Request
from airflow_provider_kernel.client.retry import Resend, RetryPolicy

RESET = errors.KernelConnectionError("reset")
GET = Request("GET", "/invocations/abc", str)
POLICY = RetryPolicy(max_attempts=3, base_seconds=1)


def begin():
    retrying = POLICY.retrying(Resend.ALWAYS, name="GET", logger=None)
    # If it were called, it would really sleep.
    retrying.sleep = lambda seconds: pytest.fail("tenacity slept")
    retrying.begin()
    return retrying, RetryCallState(retrying, fn=None, args=(), kwargs={})


def fail(state):
    state.set_exception((type(RESET), RESET, None))


def test_tenacity_decides_on_attempts_and_sleeps_and_does_neither():
    retrying, state = begin()
    assert isinstance(retrying.iter(state), DoAttempt)
    fail(state)
    sleep = retrying.iter(state)
    assert isinstance(sleep, DoSleep)
    assert 0 <= float(sleep) <= 2
    state.prepare_for_next_attempt()
    assert isinstance(retrying.iter(state), DoAttempt)
    state.set_result("answer")
    assert retrying.iter(state) == "answer"
    assert state.attempt_number == 2


def test_tenacity_raises_the_last_error_itself():
    retrying, state = begin()
    for _ in range(2):
        retrying.iter(state)
        fail(state)
        assert isinstance(retrying.iter(state), DoSleep)
        state.prepare_for_next_attempt()
    retrying.iter(state)
    fail(state)
    with pytest.raises(errors.KernelConnectionError) as raised:
        retrying.iter(state)
    assert raised.value is RESET


def test_two_flows_of_one_policy_do_not_share_attempts():
    first, second = with_retries(GET, POLICY), with_retries(GET, POLICY)
    assert next(first) is next(second) is GET
    assert isinstance(first.throw(errors.KernelConnectionError("a")), Sleep)
    assert next(first) is GET
    with pytest.raises(StopIteration) as end:
        second.send("answer")
    assert end.value.value == "answer"
    with pytest.raises(StopIteration):
        first.send("answer")


def test_a_flow_that_is_made_on_one_thread_runs_on_another():
    flow = with_retries(GET, POLICY)
    steps = []

    def drive():
        steps.append(next(flow))
        steps.append(flow.throw(errors.KernelConnectionError("a")))

    thread = threading.Thread(target=drive)
    thread.start()
    thread.join(10)
    assert steps[0] is GET
    assert isinstance(steps[1], Sleep)
