"""What a DAG callback is given: the DAG, and a supervisor that answers it from XCom."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import psutil
from airflow.sdk import DAG
from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import (
    ErrorResponse,
    GetConnection,
    GetTaskStates,
    GetXCom,
    GetXComSequenceSlice,
    TaskStatesResult,
    XComResult,
    XComSequenceSliceResult,
)

from airflow_provider_kernel.lifecycle.names import ownership_key
from airflow_provider_kernel.lifecycle.ownership import OwnershipRecord

if TYPE_CHECKING:
    import pytest

TIMEOUT = "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT"


def ownership(
    external_id: str | None,
    *,
    kernel_conn_id: str = "kernel_default",
    is_owned: bool = True,
    try_number: int = 1,
) -> dict[str, Any]:
    """Make an ownership record, as a task writes it to XCom."""
    return OwnershipRecord(external_id, "token", try_number, kernel_conn_id, is_owned)._asdict()


class XComs:
    """
    The supervisor of the DAG processor, in place of the process that asks.

    :param records: the ownership records by task id; ``None`` for a task whose XComs cannot be read.
    :param states: the states of task instances by name; ``None`` if they cannot be read.
    """

    def __init__(
        self,
        records: dict[str, list[Any] | None],
        kind: str = "invocation",
        states: Mapping[str, str] | None = MappingProxyType({}),
    ) -> None:
        self.records = records
        self.states = states
        self.key = ownership_key(kind)
        self.asked: list[str] = []

    def send(self, msg: Any) -> Any:
        if isinstance(msg, GetConnection):
            return ErrorResponse(error=ErrorType.CONNECTION_NOT_FOUND)
        if isinstance(msg, GetTaskStates):
            assert (msg.dag_id, msg.run_ids) == ("d", ["r"])
            if self.states is None:
                raise ConnectionError("the API server does not answer")
            return TaskStatesResult(task_states={"r": dict(self.states)})
        assert isinstance(msg, (GetXCom, GetXComSequenceSlice))
        assert (msg.dag_id, msg.run_id) == ("d", "r")
        self.asked.append(msg.task_id)
        found = self.records.get(msg.task_id, [])
        if found is None:
            raise ConnectionError("the API server does not answer")
        if msg.key != self.key:
            found = []
        if isinstance(msg, GetXCom):
            # Of a mapped task, the records are in the order of the indexes.
            index = max(0, msg.map_index or 0)
            return XComResult(key=msg.key, value=found[index] if index < len(found) else None)
        return XComSequenceSliceResult(root=found)


def new_dag(**arguments: Any) -> DAG:
    return DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), **arguments)


def answer_from(monkeypatch: pytest.MonkeyPatch, xcoms: XComs) -> None:
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", xcoms, raising=False)


def leave_seconds(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Set Airflow's timeout of the DAG processor, so that about this much is left of it to a callback."""
    age = time.time() - psutil.Process(os.getpid()).create_time()
    monkeypatch.setenv(TIMEOUT, str(math.ceil(age + 10 + seconds)))
