"""Running a task in this process, without a metadata database, on each version of Airflow."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from airflow.sdk.execution_time.supervisor import InProcessTestSupervisor, run_task_in_process

if TYPE_CHECKING:
    from airflow.sdk.api.client import Client
    from airflow.sdk.api.datamodels._generated import TaskInstance


def run_task(*, ti: TaskInstance, task: Any, client: Client) -> Any:
    """
    Run a task as Airflow does.

    :param ti: its try.
    :param task: the operator or sensor, in a DAG.
    :param client: a client of the Execution API.
    """
    with _without_garbage_collection():
        if "client" in signature(run_task_in_process).parameters:
            return run_task_in_process(ti=ti, task=task, client=client)
        # Before Airflow 3.3, the client is always that of the in-process server, which needs a database.
        with patch.object(InProcessTestSupervisor, "_api_client", staticmethod(lambda dag=None: client)):
            return run_task_in_process(ti=ti, task=task)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """
    Let no time limit of Airflow get lost.

    Its alarm raises an error wherever the task is. In a finalizer, or in a callback of the garbage collection such
    as Hypothesis leaves behind, Python drops that error. A process of many tests has much to collect.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
