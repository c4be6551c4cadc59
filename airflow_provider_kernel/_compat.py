"""
The differences between the supported versions of Airflow.

A branch is deleted when its version is no longer supported: those for 3.1 with ``apache-airflow>=3.2``.
"""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from airflow.sdk.bases import operator as airflow_operators

try:
    from airflow.sdk.exceptions import (
        AirflowFailException as AirflowFailException,
        AirflowNotFoundException as AirflowNotFoundException,
        AirflowRescheduleException as AirflowRescheduleException,
        AirflowSensorTimeout as AirflowSensorTimeout,
        AirflowSkipException as AirflowSkipException,
        AirflowTaskTimeout as AirflowTaskTimeout,
        TaskDeferred as TaskDeferred,
    )
except ImportError:  # Airflow 3.1
    from airflow.exceptions import (  # type: ignore[no-redef, attr-defined]
        AirflowFailException as AirflowFailException,
        AirflowNotFoundException as AirflowNotFoundException,
        AirflowRescheduleException as AirflowRescheduleException,
        AirflowSensorTimeout as AirflowSensorTimeout,
        AirflowSkipException as AirflowSkipException,
        AirflowTaskTimeout as AirflowTaskTimeout,
        TaskDeferred as TaskDeferred,
    )

try:
    from airflow.sdk.exceptions import (
        AirflowTaskTerminated,
        DagRunTriggerException,
        DownstreamTasksSkipped as DownstreamTasksSkipped,
    )
except ImportError:  # Airflow 3.1
    from airflow.exceptions import (  # type: ignore[no-redef]
        AirflowTaskTerminated,
        DagRunTriggerException,
        DownstreamTasksSkipped as DownstreamTasksSkipped,
    )

#: After these Airflow does not try a task again: it fails for good, is skipped, or has succeeded.
NOT_RETRIED: tuple[type[BaseException], ...] = (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTerminated,
    DagRunTriggerException,
    DownstreamTasksSkipped,
)

#: After these the same try goes on later.
GOES_ON: tuple[type[BaseException], ...] = (TaskDeferred, AirflowRescheduleException)
try:
    from airflow.sdk.exceptions import TaskAwaitingInput
except ImportError:  # before Airflow 3.3
    pass
else:
    GOES_ON += (TaskAwaitingInput,)

try:
    from airflow.sdk import conf as conf
except ImportError:  # Airflow 3.1
    from airflow.configuration import conf as conf  # type: ignore[assignment]


#: Whether tasks may be async functions: Airflow 3.2 has an operator for them.
RUNS_ASYNC_TASKS = hasattr(airflow_operators, "BaseAsyncOperator")


def mask_secrets(secrets: list[str]) -> None:
    """Make Airflow mask texts in the logs of this process, and in those that its supervisor writes for it."""
    from airflow.sdk.log import mask_secret

    mask_secret(secrets)  # type: ignore[arg-type]
    _mask_in_core(secrets)


async def amask_secrets(secrets: list[str]) -> None:
    """Do what :func:`mask_secrets` does, without blocking the event loop."""
    try:
        from airflow.sdk.log import amask_secret
    except ImportError:  # before Airflow 3.3
        from airflow.sdk.log import mask_secret
        from asgiref.sync import sync_to_async

        # On a thread: it waits for the supervisor, whose answer the event loop reads.
        await sync_to_async(mask_secret)(secrets)  # type: ignore[arg-type]
    else:
        await amask_secret(secrets)  # type: ignore[arg-type]
    _mask_in_core(secrets)


def _mask_in_core(secrets: list[str]) -> None:
    """Register texts with the masker of the API server and the CLI, which is not that of the Task SDK."""
    try:
        from airflow._shared.secrets_masker import mask_secret
    except ImportError:  # a worker without apache-airflow-core
        return
    mask_secret(secrets)  # type: ignore[arg-type]


def forget_cached_connection(conn_id: str) -> None:
    """Have the DAG processor read a connection anew, which ``[secrets] use_cache`` lets it keep for minutes."""
    from airflow.sdk.execution_time.cache import SecretCache

    SecretCache.save_connection_uri(conn_id, "")  # an empty one counts as none


def load_dag_folder(folder: Path, bundle_name: str) -> Any:
    """Parse a folder of DAG files into Airflow's ``DagBag``, with ``dags`` and ``import_errors``."""
    try:
        from airflow.dag_processing.dagbag import BundleDagBag
    except ImportError:  # Airflow 3.1
        from airflow.models.dagbag import DagBag

        return DagBag(dag_folder=folder, include_examples=False, bundle_path=folder)
    return BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name=bundle_name)


def triggers_have_on_kill() -> bool:
    """
    Return whether Airflow calls a trigger's ``on_kill`` when a user marks or clears its task.

    Airflow 3.3 does. Earlier versions only cancel the trigger, as they do when the triggerer stops.
    """
    from airflow.triggers.base import BaseTrigger

    return hasattr(BaseTrigger, "on_kill")


def asset_state_stores(accessors: Any | None) -> list[Any]:
    """
    Return the state stores of all assets that a trigger serves: Airflow runs one trigger for equal watchers.

    Airflow 3.3 sets ``accessors`` on the trigger. They are ``None`` before 3.3, and if no asset is watched.
    """
    # There is no public way to iterate over them.
    stores: list[Any] = [*accessors._by_name.values(), *accessors._by_uri.values()] if accessors else []
    return stores


def encode_outlet_events(outlet_events: Any) -> None:
    """
    Write the events of a task's outlets as Airflow does once the task has succeeded.

    :raises Exception: what Airflow's own code raises for what it cannot write.
    """
    try:
        from airflow.sdk.execution_time.comms import SucceedTask, _RequestFrame
        from airflow.sdk.execution_time.task_runner import _serialize_outlet_events
    except ImportError:  # they are Airflow's own; without them the check is Airflow's, after the task's work
        return
    import msgspec

    events = list(_serialize_outlet_events(outlet_events))
    if events:
        message = SucceedTask(end_date=datetime.now(timezone.utc), task_outlets=[], outlet_events=events)
        frame = _RequestFrame(id=0, body=message.model_dump()).as_bytes()
        received = msgspec.msgpack.decode(bytes(frame[4:]), type=_RequestFrame).body  # after its length
        SucceedTask.model_validate(received).model_dump_json()


def add_listener(listener: object) -> None:
    """Register a listener, an object with methods marked as ``hookimpl``, with Airflow in this process."""
    try:
        from airflow.sdk.listener import get_listener_manager
    except ImportError:  # Airflow 3.1
        from airflow.listeners.listener import get_listener_manager  # type: ignore[assignment]
    manager: Any = get_listener_manager()
    manager.add_listener(listener)
