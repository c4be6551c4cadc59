"""Run a task as a worker does: in a process of its own, forked and supervised by Airflow's own supervisor."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow.sdk.api.datamodels._generated import BundleInfo
from airflow.sdk.execution_time.supervisor import ActivitySubprocess
from support.execution_api import ExecutionAPI, task_instance

#: The DAG bundle that the task's file is in; the tests configure where that is.
BUNDLE = "tests"
#: What the supervisor grants a task after its SIGTERM.
GRACE_SECONDS = 5.0


@dataclass
class TaskProcess:
    """A running task, as the supervisor sees it."""

    pid: int
    escalation: threading.Timer | None = None

    def kill_as_airflow_does(self) -> None:
        """Send SIGTERM, and SIGKILL five seconds later: what happens to a task that is marked as failed."""
        self.escalation = threading.Timer(GRACE_SECONDS, self._signal, [signal.SIGKILL])
        self.escalation.daemon = True
        self._signal(signal.SIGTERM)
        self.escalation.start()

    def terminate(self) -> None:
        """Send SIGTERM alone."""
        self._signal(signal.SIGTERM)

    def die(self) -> None:
        """Send SIGKILL, as the kernel does to a process that takes too much memory."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        # Only ever called between the fork and the end of the wait, while the pid is ours.
        os.kill(self.pid, number)


def run_task(
    api: ExecutionAPI,
    task_id: str,
    *,
    dag_id: str,
    file: str,
    act: Callable[[TaskProcess], None] = lambda task: None,
    try_number: int = 1,
    logger: Any | None = None,
) -> None:
    """
    Run a task to its end in a process of its own.

    :param api: the Execution API that it talks to; keeps what it was told.
    :param task_id: the task.
    :param dag_id: its DAG.
    :param file: the DAG's file in the DAGs folder.
    :param try_number: which try of the task it is.
    :param logger: what the supervisor writes the task's log to; stdout by default.
    :param act: what is done to the task from outside; runs on a thread of its own beside the supervisor.
    """
    api.try_number = try_number
    supervisor = ActivitySubprocess.start(
        what=task_instance(task_id, dag_id, try_number=try_number),
        dag_rel_path=file,
        bundle_info=BundleInfo(name=BUNDLE, version=None),
        client=api.client(),
        logger=logger,
    )
    task = TaskProcess(supervisor.pid)
    failures: list[BaseException] = []

    def watch() -> None:
        try:
            act(task)
        except BaseException as error:  # noqa: BLE001 (raised again below)
            failures.append(error)
            with contextlib.suppress(ProcessLookupError):
                os.kill(task.pid, signal.SIGKILL)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        supervisor.wait()
    finally:
        watcher.join()
        if task.escalation:
            task.escalation.cancel()
    if failures:
        raise failures[0]
