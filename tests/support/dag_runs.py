"""What Airflow tells of a DAG run that is over, of a task that was killed, and of a deadline that was missed."""

from __future__ import annotations

import uuid
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import structlog
from airflow.api_fastapi.core_api.datamodels.dag_run import DAGRunResponse
from airflow.api_fastapi.execution_api.datamodels.taskinstance import DagRun, TaskInstance, TIRunContext
from airflow.callbacks.callback_requests import DagCallbackRequest, DagRunContext, TaskCallbackRequest
from airflow.dag_processing.processor import _execute_dag_callbacks, _execute_task_callbacks

if TYPE_CHECKING:
    from airflow.sdk import DAG

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
_FILE = {"filepath": "d.py", "bundle_name": "b", "bundle_version": None}


def end_run(
    dag: DAG,
    outcome: str,
    conf: dict[str, Any],
    *,
    reason: str | None = None,
    last_ti: bool = True,
    run_id: str = "r",
    task_id: str = "summarize",
) -> None:
    """
    End a DAG run as the scheduler and the DAG processor do.

    :param last_ti: whether there was a task instance; if all were skipped, Airflow passes none.
    :param task_id: the task of it.
    """
    ti = _task_instance(task_id, run_id)
    request = DagCallbackRequest(
        **_FILE,
        dag_id="d",
        run_id=run_id,
        context_from_server=DagRunContext(dag_run=_dag_run(outcome, conf, run_id), last_ti=ti if last_ti else None),
        is_failure_callback=outcome == "failed",
        msg=reason or {"success": "success", "failed": "task_failure"}[outcome],
    )
    _execute_dag_callbacks(SimpleNamespace(dags={"d": dag}), request, structlog.get_logger())  # type: ignore[arg-type]


def kill_task(
    dag: DAG,
    task_id: str,
    conf: dict[str, Any],
    *,
    callback_type: str | None,
    try_number: int,
    max_tries: int,
    map_index: int = -1,
) -> None:
    """
    Call a task's callbacks as the scheduler and the DAG processor do when its process is gone.

    :param callback_type: the task's next state, as the scheduler tells it; ``None`` for one queued for too long.
    """
    context = TIRunContext(
        dag_run=_dag_run("running", conf, "r"),
        max_tries=max_tries,
        variables=[],
        connections=[],
        xcom_keys_to_clear=[],
    )
    request = TaskCallbackRequest(
        **_FILE,
        ti=_task_instance(task_id, "r", try_number, map_index),
        msg="killed",
        task_callback_type=callback_type,
        context_from_server=context,
    )
    _execute_task_callbacks(SimpleNamespace(dags={"d": dag}), request, structlog.get_logger())  # type: ignore[arg-type]


def context_of_missed_deadline(conf: dict[str, Any] | None) -> dict[str, Any]:
    """Make the context that the scheduler hands on to the callback of a ``DeadlineAlert``."""
    fields = {
        **dict.fromkeys(DAGRunResponse.model_fields),
        "run_id": "r",
        "dag_id": "d",
        "run_after": NOW,
        "run_type": "manual",
        "state": "running",
        "conf": conf,
        "dag_versions": [],
        "dag_model": {"dag_display_name": "d"},
    }
    run = DAGRunResponse.model_validate(fields).model_dump(mode="json")
    return {"dag_run": run, "deadline": {"id": str(uuid.uuid4()), "deadline_time": NOW}}


def _dag_run(state: str, conf: dict[str, Any], run_id: str) -> DagRun:
    fields = {
        "dag_id": "d",
        "run_id": run_id,
        "logical_date": NOW,
        "data_interval_start": NOW,
        "data_interval_end": NOW,
        "run_after": NOW,
        "start_date": NOW,
        "end_date": None if state == "running" else NOW,
        "clear_number": 0,
        "run_type": "manual",
        "state": state,
        "conf": conf,
        "consumed_asset_events": [],
        "partition_key": None,
    }
    # The fields differ between versions of Airflow, and unknown ones are refused.
    return DagRun(**{name: value for name, value in fields.items() if name in DagRun.model_fields})  # type: ignore[arg-type]


def _task_instance(task_id: str, run_id: str, try_number: int = 1, map_index: int = -1) -> TaskInstance:
    ids = {"id": uuid.uuid4(), "dag_version_id": uuid.uuid4()}
    return TaskInstance(
        **ids, task_id=task_id, dag_id="d", run_id=run_id, try_number=try_number, map_index=map_index
    )
