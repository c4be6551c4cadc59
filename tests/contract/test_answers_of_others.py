"""The answer to another request is never taken for the own one."""

from __future__ import annotations

import pytest
from contract.wire import Relay

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.resources.invocations import flows, requests
from airflow_provider_kernel.client.resources.invocations.wait import wait_for_invocation
from airflow_provider_kernel.testing import Fault

ONE = "/invocations/*"
OTHER = {"id": "other", "status": "succeeded", "app_name": "demo", "action_name": "fail", "output": '"not mine"'}
START = requests.create_invocation("demo", "hang")


@pytest.fixture
def others_answer(kernel_emulator):
    """Call it with a method: the server processes the requests, and sends what belongs to another one."""

    def add(method, path=ONE, nth=1, **changes):
        kernel_emulator.add_fault(Fault(method, path, nth, processed=True, body={**OTHER, **changes}))

    return add


def test_get_is_resent_on_another_connection(connect, kernel_emulator, running, others_answer):
    others_answer("GET")
    with Relay(kernel_emulator.port) as relay:
        assert connect(relay).send(requests.get_invocation(running)).id == running
        assert len(kernel_emulator.requests("GET", ONE)) >= 2
        assert relay.connections == 2


def test_update_is_resent(client, kernel_emulator, running, others_answer):
    others_answer("PATCH", status="failed")
    assert client.run(flows.update_invocation(running, "failed", 1)).id == running
    assert len(kernel_emulator.requests("PATCH")) == 2


def test_error_names_both_objects_when_it_stays(client, running, others_answer):
    others_answer("GET", nth=None)
    with pytest.raises(errors.KernelConnectionError, match="its id is 'other', not") as caught:
        client.send(requests.get_invocation(running))
    assert running in str(caught.value)
    assert not caught.value.permanent


def test_wait_does_not_end_with_the_output_of_another_invocation(client, kernel_emulator, others_answer):
    started = client.send(requests.create_invocation("demo", "echo", payload="mine"))
    kernel_emulator.wait_for_status(started.id, "succeeded")
    others_answer("GET", nth=(1, 2, 3))
    found = client.run(wait_for_invocation(started.id, poll_interval=0.01))
    assert (found.id, found.parsed_output()) == (started.id, "mine")


@pytest.mark.parametrize(
    "changes", [{"action_name": "hang", "app_name": "shop"}, {"app_name": "demo"}], ids=["app", "action"]
)
def test_start_that_got_the_answer_of_another_one_is_ambiguous(client, kernel_emulator, others_answer, changes):
    others_answer("POST", "/invocations", **changes)
    with pytest.raises(errors.KernelAmbiguousStartError, match="belongs to another request"):
        client.run(flows.start_invocation(START))
    assert len(kernel_emulator.requests("POST")) == 1
    assert len(kernel_emulator.invocations) == 1


def test_answer_that_does_not_say_what_it_is_about_is_taken(client, kernel_emulator):
    kernel_emulator.add_fault(Fault("POST", "/invocations", body={"id": "new", "status": "queued"}))
    assert client.run(flows.start_invocation(START)).id == "new"


@pytest.mark.parametrize("given", [str.upper, lambda name: name[:8]], ids=["other case", "start of the id"])
def test_id_that_the_server_completes_is_the_own_one(client, kernel_emulator, running, given):
    kernel_emulator.add_fault(Fault("GET", ONE, body={"id": running, "status": "running"}))
    assert client.send(requests.get_invocation(given(running))).id == running
    assert len(kernel_emulator.requests("GET", ONE)) == 1


def test_names_that_the_server_writes_in_another_case_are_the_own_ones(client, kernel_emulator):
    answer = {"id": "new", "status": "queued", "app_name": "Demo", "action_name": "HANG"}
    kernel_emulator.add_fault(Fault("POST", "/invocations", body=answer))
    assert client.run(flows.start_invocation(START)).id == "new"


def test_action_whose_name_begins_like_the_own_one_is_another(client, others_answer):
    others_answer("POST", "/invocations", action_name="hang-up")
    with pytest.raises(errors.KernelAmbiguousStartError, match="belongs to another request"):
        client.run(flows.start_invocation(START))
