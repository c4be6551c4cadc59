"""Run a trigger as a triggerer does: in a process of its own, forked and supervised by Airflow's own supervisor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from airflow.executors import workloads
from airflow.jobs.triggerer_job_runner import TriggerLoggingFactory, TriggerRunnerSupervisor
from airflow.models.trigger import Trigger
from asgiref.sync import SyncToAsync
from support.triggerer import task_instance

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger
    from support.execution_api import ExecutionAPI

TRIGGER_ID = 1


class Supervisor(TriggerRunnerSupervisor):
    """Airflow's own, without the database: the test says which triggers there are."""

    api: ExecutionAPI

    def make_client(self) -> Any:
        return self.api.client()


@dataclass
class Triggerer:
    """A triggerer with one trigger."""

    supervisor: Supervisor
    log: Path

    def service_until(self, predicate: Callable[[], Any]) -> None:
        while not predicate():
            assert self.supervisor.is_alive()
            self.supervisor._service_subprocess(0.1)

    def cancel_trigger(self) -> None:
        """What follows when the task has been marked or cleared."""
        self.supervisor.cancelling_triggers.add(TRIGGER_ID)

    def stop(self) -> int | None:
        """Stop it as a SIGTERM to the triggerer does, and return its exit code."""
        self.supervisor.kill(escalation_delay=10, force=True)
        return self.supervisor._exit_code


@contextmanager
def run_trigger(trigger: BaseTrigger, api: ExecutionAPI, log: Path) -> Iterator[Triggerer]:
    """
    Run a triggerer with one trigger.

    :param api: the Execution API that its supervisor talks to.
    :param log: what the supervisor writes the log of the trigger's task to.
    """
    classpath, kwargs = trigger.serialize()
    ti = task_instance()
    # Give the child an executor without a thread yet: the thread of one that was used is lost there.
    with patch.object(SyncToAsync, "single_thread_executor", ThreadPoolExecutor(max_workers=1)):
        supervisor = Supervisor.start(capacity=10)
        try:
            supervisor.api = api
            supervisor.logger_cache[TRIGGER_ID] = TriggerLoggingFactory(log_path=str(log), ti=ti)
            supervisor.creating_triggers.append(
                workloads.RunTrigger(
                    id=TRIGGER_ID, classpath=classpath, encrypted_kwargs=Trigger.encrypt_kwargs(kwargs), ti=ti
                )
            )
            yield Triggerer(supervisor, log)
        finally:
            supervisor.kill(escalation_delay=10, force=True)
