"""A triggerer's process, forked, supervised and stopped by Airflow's own supervisor, while it cancels."""

import pytest
from support.dag_callbacks import ownership
from support.triggerer_process import run_trigger

from airflow_provider_kernel.client.client import KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.resources.invocations import requests
from airflow_provider_kernel.task_log.writer import COMES_AGAIN
from airflow_provider_kernel.testing import Fault
from airflow_provider_kernel.triggers.invocation import KernelInvocationTrigger

ANY = "/invocations/*"


@pytest.fixture
def invocation_id(kernel_emulator):
    with KernelClient(KernelConfig(kernel_emulator.api_key, kernel_emulator.base_url)) as client:
        return client.send(requests.create_invocation("demo", "hang")).id


@pytest.fixture
def triggerer(kernel_connection, kernel_emulator, execution_api, invocation_id, tmp_path):
    execution_api.task_state = "deferred"
    execution_api.xcoms["kernel_invocation_owner"] = ownership(invocation_id)
    trigger = KernelInvocationTrigger(invocation_id=invocation_id, poll_interval=3600)
    with run_trigger(trigger, execution_api, tmp_path / "task.log") as triggerer:
        triggerer.service_until(lambda: kernel_emulator.requests("GET", ANY))
        yield triggerer


@pytest.fixture
def stop_during_a_cancel(triggerer, execution_api, kernel_emulator):
    """Stop the triggerer while Kernel holds its answer to a cancel, as a fault says."""

    def stop_during_a_cancel(fault):
        kernel_emulator.add_fault(fault)
        execution_api.task_state = "failed"
        triggerer.cancel_trigger()
        triggerer.service_until(lambda: kernel_emulator.requests("PATCH", ANY))
        assert triggerer.stop() == 0
        fault.release()

    return stop_during_a_cancel


def test_stop_of_a_triggerer_process_during_a_cancel_leaves_one_more_attempt(
    triggerer, stop_during_a_cancel, kernel_emulator, invocation_id
):
    stop_during_a_cancel(Fault("PATCH", ANY, hold=True, status=500))
    assert kernel_emulator.invocation(invocation_id).status == "failed"
    log = triggerer.log.read_text()
    assert f"The process stops before invocation {invocation_id} has ended" in log
    assert f"Invocation {invocation_id} was cancelled; it is now failed" in log


def test_stop_of_a_triggerer_process_while_kernel_hangs_logs_who_is_next(
    triggerer, stop_during_a_cancel, kernel_emulator, invocation_id
):
    stop_during_a_cancel(Fault("PATCH", ANY, nth=None, hold=True, status=500))
    assert kernel_emulator.invocation(invocation_id).status == "running"
    assert "Next in line: the next try after a clear, " in triggerer.log.read_text()


def test_stop_of_a_triggerer_process_leaves_the_invocation_of_a_waiting_task(
    triggerer, kernel_emulator, invocation_id
):
    assert triggerer.stop() == 0
    assert kernel_emulator.invocation(invocation_id).status == "running"
    assert kernel_emulator.requests("PATCH") == ()


def test_triggerer_process_that_takes_over_says_that_log_lines_come_again(
    kernel_connection, kernel_emulator, execution_api, tmp_path, monkeypatch
):
    kernel_emulator.register("demo", "talk", lambda ctx: ctx.log("hello") or ctx.wait())
    with KernelClient(KernelConfig(kernel_emulator.api_key, kernel_emulator.base_url)) as client:
        invocation_id = client.send(requests.create_invocation("demo", "talk")).id
    execution_api.task_state = "deferred"
    execution_api.xcoms["kernel_invocation_owner"] = ownership(invocation_id)
    trigger = KernelInvocationTrigger(invocation_id=invocation_id, poll_interval=3600)
    logs = []
    for name, seconds in (("first", 10.0), ("second", 0.0)):  # the second one comes later than that
        monkeypatch.setattr("airflow_provider_kernel.triggers.invocation._TAKEN_UP_SECONDS", seconds)
        with run_trigger(trigger, execution_api, tmp_path / name) as triggerer:
            triggerer.service_until(lambda log=triggerer.log: log.exists() and "kernel | hello" in log.read_text())
            assert triggerer.stop() == 0
        logs.append(triggerer.log.read_text())
    note = COMES_AGAIN % invocation_id
    assert [(log.count("kernel | hello"), note in log) for log in logs] == [(1, False), (1, True)]
