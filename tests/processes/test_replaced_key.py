"""The API key is replaced in Airflow's database while a real task, or a real trigger, waits or is to be ended."""

import json
import threading

import pytest
from support.dag_callbacks import ownership
from support.task_process import run_task
from support.triggerer_process import run_trigger

from airflow_provider_kernel.client.client import KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.resources.invocations import requests
from airflow_provider_kernel.triggers.invocation import KernelInvocationTrigger

ONE = "/invocations/*"


@pytest.fixture
def publish(execution_api, kernel_emulator):
    """Have the Execution API give the emulator's present key."""

    def publish():
        execution_api.connections["kernel_default"] = json.loads(kernel_emulator.airflow_connection)

    publish()
    return publish


@pytest.fixture
def replace_key(publish, kernel_emulator):
    def replace_key():
        kernel_emulator.replace_key("sk-of-today")
        publish()

    return replace_key


@pytest.fixture
def run(execution_api, publish):
    def run(act):
        run_task(execution_api, "invoke", dag_id="kill", file="kill.py", act=act)

    return run


def was_refused(kernel):
    return any(request.status == 401 for request in kernel.journal)


def test_task_process_goes_on_with_the_key_that_the_execution_api_has_now(
    run, replace_key, kernel_emulator, execution_api
):
    def act(task):
        kernel_emulator.wait_for("GET", ONE, timeout=8)
        replace_key()
        kernel_emulator.finish(kernel_emulator.invocations[0].id, output="done")

    run(act)
    assert execution_api.final_state == "success"
    assert was_refused(kernel_emulator)


def test_kill_of_a_task_process_ends_with_the_key_that_the_execution_api_has_now(
    run, replace_key, kernel_emulator, execution_api
):
    def act(task):
        kernel_emulator.wait_for("GET", ONE, timeout=8)
        replace_key()
        task.kill_as_airflow_does()

    run(act)
    assert kernel_emulator.invocations[0].status == "failed"
    assert execution_api.final_state == "failed"


def test_kill_of_a_task_process_that_cannot_read_the_key_names_the_next_in_line(
    run, kernel_emulator, execution_api, capfd
):
    """The Execution API hangs for longer than the 4 s of a kill."""
    never = threading.Event()

    def hold(method, path):
        if path.startswith("/connections/"):
            never.wait(4.8)

    def act(task):
        kernel_emulator.wait_for("GET", ONE, timeout=8)
        kernel_emulator.replace_key("sk-of-today")
        execution_api.hold = hold
        task.kill_as_airflow_does()

    run(act)
    assert kernel_emulator.invocations[0].status == "running"
    assert "Next in line" in "".join(capfd.readouterr())


@pytest.fixture
def trigger_of(publish, kernel_emulator, execution_api, tmp_path):
    with KernelClient(KernelConfig(kernel_emulator.api_key, kernel_emulator.base_url)) as client:
        invocation_id = client.send(requests.create_invocation("demo", "hang")).id
    execution_api.task_state = "deferred"
    execution_api.xcoms["kernel_invocation_owner"] = ownership(invocation_id)

    def trigger_of(poll_interval):
        trigger = KernelInvocationTrigger(invocation_id=invocation_id, poll_interval=poll_interval)
        return run_trigger(trigger, execution_api, tmp_path / "task.log")

    return trigger_of


def test_triggerer_process_goes_on_with_the_key_that_the_execution_api_has_now(
    trigger_of, replace_key, kernel_emulator
):
    with trigger_of(0.2) as triggerer:
        triggerer.service_until(lambda: kernel_emulator.requests("GET", ONE))
        replace_key()
        kernel_emulator.finish(kernel_emulator.invocations[0].id, output="done")
        triggerer.service_until(lambda: triggerer.supervisor.events)
        event = triggerer.supervisor.events[0][1]
        # No job runner stands behind it that would let it go.
        triggerer.supervisor.kill(escalation_delay=0.2, force=True)
    assert event.payload["status"] == "finished"
    assert was_refused(kernel_emulator)


@pytest.mark.needs_airflow("3.3", "before, a trigger cannot know that a user acted")
def test_killed_trigger_in_a_triggerer_process_ends_with_the_key_that_the_execution_api_has_now(
    trigger_of, replace_key, kernel_emulator, execution_api
):
    with trigger_of(3600) as triggerer:
        triggerer.service_until(lambda: kernel_emulator.requests("GET", ONE))
        replace_key()
        execution_api.task_state = "failed"
        triggerer.cancel_trigger()
        triggerer.service_until(lambda: kernel_emulator.invocations[0].status == "failed")
    assert was_refused(kernel_emulator)
