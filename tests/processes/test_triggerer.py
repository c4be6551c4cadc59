"""A triggerer's process, forked, supervised and stopped by Airflow's own supervisor, while it cancels."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from airflow.executors import workloads
from airflow.jobs.triggerer_job_runner import TriggerLoggingFactory, TriggerRunnerSupervisor
from airflow.models.trigger import Trigger
from asgiref.sync import SyncToAsync
from support.triggerer import task_instance

from airflow_provider_kernel.client.client import KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.resources.invocations import requests
from airflow_provider_kernel.testing import Fault
from airflow_provider_kernel.triggers.invocation import KernelInvocationTrigger

ANY = "/invocations/*"
TRIGGER_ID = 1


class Supervisor(TriggerRunnerSupervisor):
    """Airflow's own, without the database: the test says which triggers there are."""

    def make_client(self):
        return self.api.client()


@dataclass
class Triggerer:
    """A triggerer with one trigger."""

    supervisor: Supervisor
    log: Path

    def service_until(self, predicate):
        while not predicate():
            assert self.supervisor.is_alive()
            self.supervisor._service_subprocess(0.1)

    def cancel_trigger(self):
        """What follows when the task has been marked or cleared."""
        self.supervisor.cancelling_triggers.add(TRIGGER_ID)

    def stop(self):
        """Stop it as a SIGTERM to the triggerer does, and return its exit code."""
        self.supervisor.kill(escalation_delay=10, force=True)
        return self.supervisor._exit_code


@pytest.fixture
def invocation_id(kernel_emulator):
    with KernelClient(KernelConfig(kernel_emulator.api_key, kernel_emulator.base_url)) as client:
        return client.send(requests.create_invocation("demo", "hang")).id


@pytest.fixture
def threads_that_survive_a_fork(monkeypatch):
    """Give the child an executor without a thread yet: the thread of one that was used is lost there."""
    monkeypatch.setattr(SyncToAsync, "single_thread_executor", ThreadPoolExecutor(max_workers=1))


@pytest.fixture
def triggerer(
    kernel_connection, kernel_emulator, execution_api, invocation_id, tmp_path, threads_that_survive_a_fork
):
    execution_api.task_state = "deferred"
    execution_api.xcoms["invocation_id"] = invocation_id
    classpath, kwargs = KernelInvocationTrigger(invocation_id=invocation_id, poll_interval=3600).serialize()
    ti = task_instance()
    supervisor = Supervisor.start(capacity=10)
    try:
        supervisor.api = execution_api
        log = tmp_path / "task.log"
        supervisor.logger_cache[TRIGGER_ID] = TriggerLoggingFactory(log_path=str(log), ti=ti)
        row = workloads.RunTrigger(
            id=TRIGGER_ID, classpath=classpath, encrypted_kwargs=Trigger.encrypt_kwargs(kwargs), ti=ti
        )
        supervisor.creating_triggers.append(row)
        triggerer = Triggerer(supervisor, log)
        triggerer.service_until(lambda: kernel_emulator.requests("GET", ANY))
        yield triggerer
    finally:
        supervisor.kill(escalation_delay=10, force=True)


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
    assert f"The process stops before invocation {invocation_id} is cancelled" in log
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
