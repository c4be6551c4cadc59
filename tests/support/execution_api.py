"""
An Airflow Execution API in memory: what a task process talks to, without a metadata database.

It serves one task instance, keeps its XComs, and records every request, so that a test can see what the task told
Airflow and can hold an answer back.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.util import find_spec
from typing import Any

import httpx
from airflow.sdk.api.client import Client
from airflow.sdk.api.datamodels._generated import DagRun, TaskInstance, TIRunContext


@dataclass
class ExecutionAPI:
    """
    :param max_tries: how many tries the task instance has beyond the first.
    :param try_number: which try is being run.
    :param conf: the DAG run's.
    :param clear_number: how often tasks of the DAG run were cleared.
    :param xcoms: what is in XCom, by key.
    :param store: what is kept for the task over its tries.
    :param is_old: whether Airflow has given the task instance another id: the store then refuses this one.
    :param task_state: what it says of the task instance's state when it is asked.
    :param connections: the fields of the connections that it knows, by id.
    :param dag_run_states: the states of other DAG runs, by run id.
    :param other_task_states: the states of the tasks of other DAGs: by DAG, by run, by name.
    :param other_xcoms: the XComs of other tasks, by DAG, run, task and map index, and by key.
    :param next_method: what a task that resumes from a deferral goes on with; ``None`` for a first run.
    :param next_kwargs: the arguments of that.
    :param start_date: when the task instance started, told to one that resumes.
    :param rescheduled_at: when the first poke of a sensor was rescheduled, if it was.
    :param stopped: whether Airflow has set the task instance to another state, which its heartbeat is told.
    :param hold: called with each request before it is acted on; blocks to hold it up.
    :param after: the same after it was acted on, before it is answered.
    """

    max_tries: int = 0
    try_number: int = 1
    conf: dict[str, Any] | None = field(default_factory=dict)
    clear_number: int = 0
    xcoms: dict[str, Any] = field(default_factory=dict)
    store: dict[str, Any] = field(default_factory=dict)
    is_old: bool = False
    task_state: str | None = "running"
    connections: dict[str, dict[str, Any]] = field(default_factory=dict)
    dag_run_states: dict[str, str] = field(default_factory=dict)
    other_task_states: dict[str, dict[str, dict[str, str | None]]] = field(default_factory=dict)
    other_xcoms: dict[tuple[str, str, str, int], dict[str, Any]] = field(default_factory=dict)
    next_method: str | None = None
    next_kwargs: dict[str, Any] | None = None
    start_date: datetime | None = None
    rescheduled_at: datetime | None = None
    stopped: bool = False
    hold: Callable[[str, str], None] = lambda method, path: None
    after: Callable[[str, str], None] = lambda method, path: None
    #: The keys of the XComs that were marked as the DAG run's result.
    dag_results: list[str] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def client(self) -> Client:
        transport = httpx.MockTransport(self._answer)
        return Client(base_url="http://execution-api.invalid", token="", transport=transport)

    @property
    def final_state(self) -> str | None:
        """The last state that the task instance was given."""
        return self.states[-1]["state"] if self.states else None

    def _answer(self, request: httpx.Request) -> httpx.Response:
        method, path = request.method, request.url.path
        self.requests.append((method, path))
        self.hold(method, path)
        answer = self._act(method, path, request)
        self.after(method, path)
        return answer

    def _act(self, method: str, path: str, request: httpx.Request) -> httpx.Response:
        if path.endswith("/run"):
            return httpx.Response(200, json=self._run_context())
        if path == "/task-instances/states" and request.url.params["dag_id"] in self.other_task_states:
            by_run = self.other_task_states[request.url.params["dag_id"]]
            return httpx.Response(200, json={"task_states": by_run})
        if path == "/task-instances/states":
            task_ids = request.url.params.get_list("task_ids")
            index = request.url.params.get("map_index")
            states = {f"{t}_{index}" if index else t: self.task_state for t in task_ids if self.task_state}
            return httpx.Response(200, json={"task_states": {"r": states}})
        if path.startswith("/dag-runs/") and path.endswith("/state"):
            state = self.dag_run_states.get(path.split("/")[-2])
            missing = {"detail": {"reason": "not_found", "message": "no such DAG run"}}
            return httpx.Response(200, json={"state": state}) if state else httpx.Response(404, json=missing)
        if path.endswith("/heartbeat") and self.stopped:
            detail = {"reason": "not_running", "message": "not running", "current_state": self.task_state}
            return httpx.Response(409, json={"detail": detail})
        if path.startswith("/store/ti/"):
            return self._store(method, path.rsplit("/", 1)[-1], request)
        if path.startswith("/task-reschedules/"):
            return httpx.Response(200, json=self.rescheduled_at and self.rescheduled_at.isoformat())
        if path.startswith("/xcoms/"):
            return self._xcom(method, path, request)
        if path.startswith("/connections/"):
            conn_id = path.rsplit("/", 1)[-1]
            if conn_id in self.connections:
                return httpx.Response(200, json=_whole_connection(conn_id, self.connections[conn_id]))
            return httpx.Response(404, json={"detail": {"reason": "not_found", "message": "no such connection"}})
        if method == "PATCH" and path.endswith("/state"):
            self.states.append(json.loads(request.content))
            self.ended.set()
        return httpx.Response(204) if method in ("PATCH", "DELETE") else httpx.Response(201, json={"message": "ok"})

    def _store(self, method: str, key: str, request: httpx.Request) -> httpx.Response:
        if self.is_old:
            return httpx.Response(404, json={"detail": {"reason": "not_found", "message": "no such task instance"}})
        if method == "PUT":
            self.store[key] = json.loads(request.content)["value"]
            return httpx.Response(204)
        if method == "GET" and key in self.store:
            return httpx.Response(200, json={"value": self.store[key]})
        return httpx.Response(404, json={"detail": {"reason": "not_found", "message": "no such key"}})

    def _xcom(self, method: str, path: str, request: httpx.Request) -> httpx.Response:
        dag_id, run_id, task_id, key = path.split("/")[2:6]
        others = {
            name[3]: xcoms for name, xcoms in self.other_xcoms.items() if name[:3] == (dag_id, run_id, task_id)
        }
        if path.endswith("/slice"):
            found = [others[index] for index in sorted(others)] or [self.xcoms]
            return httpx.Response(200, json=[xcoms[key] for xcoms in found if key in xcoms])
        if method == "POST":
            self.xcoms[key] = json.loads(request.content)
            if request.url.params.get("dag_result") == "true":
                self.dag_results.append(key)
            return httpx.Response(201, json={"message": "ok"})
        xcoms = others.get(int(request.url.params.get("map_index", -1)), {}) if others else self.xcoms
        if method == "GET" and key in xcoms:
            return httpx.Response(200, json={"key": key, "value": xcoms[key]})
        return httpx.Response(404, json={"detail": {"reason": "not_found", "message": "no such XCom"}})

    def _run_context(self) -> dict[str, Any]:
        now = datetime.now(timezone.utc).isoformat()
        whole: dict[str, Any] = {
            "dag_run": {
                "dag_id": "d",
                "run_id": "r",
                "logical_date": now,
                "data_interval_start": now,
                "data_interval_end": now,
                "run_after": now,
                "start_date": now,
                "end_date": None,
                "clear_number": self.clear_number,
                "run_type": "manual",
                "state": "running",
                "conf": self.conf,
                "triggering_user_name": None,
                "consumed_asset_events": [],
                "partition_key": None,
                "note": None,
            },
            "task_reschedule_count": int(self.rescheduled_at is not None),
            "max_tries": self.max_tries,
            "variables": [],
            "connections": [],
            "xcom_keys_to_clear": [],
            "should_retry": 0 < self.try_number <= self.max_tries,
            "next_method": self.next_method,
            "next_kwargs": as_stored(self.next_kwargs),
            "start_date": self.start_date.isoformat() if self.start_date else None,
        }
        # Each version of Airflow knows fields of its own, and takes no others.
        whole["dag_run"] = {name: value for name, value in whole["dag_run"].items() if name in DagRun.model_fields}
        return {name: value for name, value in whole.items() if name in TIRunContext.model_fields}


def _whole_connection(conn_id: str, fields: dict[str, Any]) -> dict[str, Any]:
    names = ("conn_type", "host", "schema", "login", "password", "port", "extra")
    return {"conn_id": conn_id, **{name: fields.get(name) for name in names}}


def as_stored(arguments: dict[str, Any] | None) -> dict[str, Any] | None:
    """Write arguments as a task's row has them over a deferral."""
    if arguments is None or find_spec("airflow.sdk.serde") is not None:
        return arguments
    from airflow.serialization.serialized_objects import BaseSerialization  # Airflow 3.1

    encoded: dict[str, Any] = BaseSerialization.serialize(arguments)
    return encoded


def task_instance(task_id: str = "t", dag_id: str = "d", map_index: int = -1, try_number: int = 1) -> TaskInstance:
    """Describe a try."""
    return TaskInstance(
        id=uuid.uuid4(),
        task_id=task_id,
        dag_id=dag_id,
        run_id="r",
        try_number=try_number,
        map_index=map_index,
        dag_version_id=uuid.uuid4(),
    )
