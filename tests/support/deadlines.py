"""A ``DeadlineAlert`` that is missed: its callback goes through the DAG's row, and Airflow's own code calls it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog
from airflow.sdk.definitions.deadline import AsyncCallback, DeadlineAlert, DeadlineReference, SyncCallback

try:
    from airflow.triggers.callback import CallbackTrigger
except ImportError:  # before Airflow 3.2
    from airflow.triggers.deadline import DeadlineCallbackTrigger as CallbackTrigger

try:
    from airflow.serialization.encoders import encode_deadline_alert
except ImportError:  # before Airflow 3.2
    encode_deadline_alert = DeadlineAlert.serialize_deadline_alert

try:
    from airflow.serialization.decoders import decode_deadline_alert
except ImportError:  # before Airflow 3.2
    decode_deadline_alert = DeadlineAlert.deserialize_deadline_alert

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.triggerer import Triggerer

__all__ = ["AsyncCallback", "SyncCallback", "call_in_executor", "call_in_triggerer"]


def through_the_row(callback: Any) -> Any:
    """Write the callback of a DAG's alert into the DAG's row, and read it back."""
    alert = DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(minutes=1), callback)
    return decode_deadline_alert(json.loads(json.dumps(encode_deadline_alert(alert)))).callback


async def call_in_triggerer(triggerer: Triggerer, callback: Any, context: dict[str, Any]) -> dict[str, Any]:
    """Call an ``AsyncCallback`` as a triggerer does; returns the payload of its last event."""
    stored = through_the_row(callback)
    trigger = CallbackTrigger(
        callback_path=stored.path, callback_kwargs={**(stored.kwargs or {}), "context": context}
    )
    await (await triggerer.start(trigger))
    return triggerer.events[-1]


def call_in_executor(callback: Any, context: dict[str, Any]) -> tuple[bool, str | None]:
    """Call a ``SyncCallback`` as an executor does; returns whether Airflow takes it for done, and the error."""
    stored = through_the_row(callback)
    kwargs = {**(stored.kwargs or {}), "context": context}
    log = structlog.get_logger()
    execute: Callable[..., tuple[bool, str | None]]
    try:
        from airflow.sdk.execution_time.callback_supervisor import execute_callback as execute
    except ImportError:  # before Airflow 3.3
        from types import SimpleNamespace

        from airflow.executors.workloads.callback import execute_callback_workload as execute

        return execute(SimpleNamespace(data={"path": stored.path, "kwargs": kwargs}), log)
    return execute(stored.path, kwargs, "d.py", None, log)
