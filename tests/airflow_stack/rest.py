"""Airflow's REST API: what a person does in its UI."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

import httpx


class AirflowApi:
    """
    A client of the public API.

    :param base_url: the API server.
    """

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._http = httpx.Client(base_url=base_url, timeout=30)

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def health(self) -> dict[str, str | None]:
        """Ask for the state of each component; empty while the server does not answer."""
        try:
            answer = self._http.get("/api/v2/monitor/health", timeout=5)
            answer.raise_for_status()
        except httpx.HTTPError:
            return {}
        return {name: component["status"] for name, component in answer.json().items()}

    def log_in(self) -> None:
        """Take a token; needs an API server that makes everybody an admin."""
        answer = self._http.get("/auth/token")
        answer.raise_for_status()
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    @property
    def token(self) -> str:
        """The token of whoever is logged in."""
        return self._http.headers["Authorization"].removeprefix("Bearer ")

    def asset_events(self, name: str) -> list[dict[str, Any]]:
        """List the events of an asset."""
        asset_id = self._asset_id(name)
        events: list[dict[str, Any]] = []
        while True:
            page = {"asset_id": asset_id, "limit": 100, "offset": len(events)}
            found = self._call("GET", "/assets/events", params=page)
            events += found["asset_events"]
            if not found["asset_events"] or len(events) >= found["total_entries"]:
                return events

    def asset_state(self, name: str, key: str) -> Any:
        """Read what is kept with an asset; None while nothing is."""
        try:
            return self._call("GET", f"/assets/{self._asset_id(name)}/state-store/{key}")["value"]
        except httpx.HTTPStatusError as error:
            if error.response.status_code == 404:
                return None
            raise

    def _asset_id(self, name: str) -> int:
        assets = self._call("GET", "/assets", params={"name_pattern": name})["assets"]
        (asset_id,) = [asset["id"] for asset in assets if asset["name"] == name]
        return int(asset_id)

    def dag_ids(self) -> set[str]:
        """List the DAGs that have been parsed."""
        return {dag["dag_id"] for dag in self._call("GET", "/dags", params={"limit": 100})["dags"]}

    def import_errors(self) -> list[str]:
        """List what kept DAG files from being parsed."""
        return [error["stack_trace"] for error in self._call("GET", "/importErrors")["import_errors"]]

    def pause(self, dag_id: str, paused: bool = True) -> None:
        """Pause a DAG, or let it run."""
        self._call("PATCH", f"/dags/{dag_id}", json={"is_paused": paused})

    def delete_dag(self, dag_id: str) -> None:
        """Delete a DAG and all of its runs."""
        self._call("DELETE", f"/dags/{dag_id}")

    def start_run(self, dag_id: str, **body: Any) -> str:
        """Start a run of a DAG now; return its id."""
        run = self._call("POST", f"/dags/{dag_id}/dagRuns", json={"logical_date": None, **body})
        return str(run["dag_run_id"])

    def mark_run(self, dag_id: str, run_id: str, state: str) -> None:
        """Mark a DAG run as failed or success."""
        self._call("PATCH", f"/dags/{dag_id}/dagRuns/{run_id}", json={"state": state})

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a DAG run."""
        return str(self._call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def run_start(self, dag_id: str, run_id: str) -> float:
        """Return when a DAG run began, in seconds since the epoch."""
        return timestamp(self._call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["start_date"])

    def run_times(self, dag_id: str, run_id: str) -> tuple[float, float]:
        """Return when a DAG run began and ended, in seconds since the epoch."""
        run = self._call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")
        return timestamp(run["start_date"]), timestamp(run["end_date"])

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """List the task instances of a run; empty when it is gone."""
        instances: list[dict[str, Any]] = []
        while True:
            page = {"limit": 100, "offset": len(instances)}
            try:
                found = self._call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", params=page)
            except httpx.HTTPStatusError as error:
                if error.response.status_code == 404:
                    return []
                raise
            instances += found["task_instances"]
            if not found["task_instances"] or len(instances) >= found["total_entries"]:
                break
        return sorted(instances, key=lambda ti: (ti["task_id"], ti["map_index"]))

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str, map_index: int = -1) -> None:
        """Mark a task instance as failed or success."""
        self._call("PATCH", _path(dag_id, run_id, task_id, map_index), json={"new_state": state})

    def delete_task_instance(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> None:
        """Delete the row of a task instance."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        self._call("DELETE", path, params={"map_index": map_index})

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Clear a task, so that it runs again."""
        body = {"dry_run": False, "dag_run_id": run_id, "task_ids": [task_id]}
        body |= {"only_failed": False, "reset_dag_runs": True}
        self._call("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """Read an XCom."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        return self._call("GET", path)["value"]

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1) -> list[str]:
        """Read a task's log, an event a line."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        json_wanted = {"Accept": "application/json"}
        content = self._call("GET", path, params={"map_index": map_index}, headers=json_wanted)["content"]
        return [str(entry["event"] if isinstance(entry, dict) else entry) for entry in content]

    def wait_for_state(
        self, dag_id: str, run_id: str, states: Collection[str], *, timeout: float = 60
    ) -> list[dict[str, Any]]:
        """
        Wait until every task instance of a run is in one of some states.

        :param states: the states.
        :param timeout: seconds.
        :return: the task instances.
        :raises AssertionError: when the time is over.
        """
        found: list[dict[str, Any]] = []

        def reached() -> bool:
            found[:] = self.task_instances(dag_id, run_id)
            return bool(found) and all(ti["state"] in states for ti in found)

        wait_until(
            reached,
            timeout=timeout,
            what=lambda: f"{dag_id} is {[ti['state'] for ti in found]}, not {sorted(states)}",
        )
        return found

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        answer = self._http.request(method, f"/api/v2{path}", **arguments)
        if answer.is_error:
            raise httpx.HTTPStatusError(
                f"{method} {path}: {answer.status_code} {answer.text}", request=answer.request, response=answer
            )
        return answer.json() if answer.content else None


def timestamp(text: str) -> float:
    """Read a time of Airflow's: seconds since the epoch."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def wait_until(holds: Callable[[], bool], *, timeout: float, what: Callable[[], str]) -> None:
    """
    Look again and again until something holds: Airflow tells nobody when a state changes.

    :param holds: what should hold.
    :param timeout: seconds.
    :param what: says what is the case instead.
    :raises AssertionError: when the time is over.
    """
    deadline = time.monotonic() + timeout
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s in vain: {what()}")
        time.sleep(0.1)


def _path(dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
    return path if map_index < 0 else f"{path}/{map_index}"
