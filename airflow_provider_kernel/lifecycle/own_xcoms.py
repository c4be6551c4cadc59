"""
The XComs that the package writes for itself: links and ownership records.

They go past a custom XCom backend, as the links of Airflow's own operators do. The API server shows a link as it is
stored, and the DAG processor and the triggerer read records where the backend's storage may not be reachable. What
users read, the id and the return value, goes through the backend as they expect.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_kernel.lifecycle.task_instances import is_mapped


def write(key: str, value: Any, ti: Any) -> None:
    """Write an XCom of a task instance. Blocks until Airflow answers."""
    from airflow.sdk.bases.xcom import BaseXCom

    BaseXCom.set(key=key, value=value, **_place_of(ti))


def read(key: str, ti: Any) -> Any:
    """Read an XCom of a task instance; ``None`` if there is none. Blocks until Airflow answers."""
    from airflow.sdk.bases.xcom import BaseXCom

    return BaseXCom.get_one(key=key, **_place_of(ti))


def read_all(key: str, *, dag_id: str, task_id: str, run_id: str) -> list[Any]:
    """Read the XComs of all instances of a task in a DAG run. Blocks until Airflow answers."""
    from airflow.sdk.bases.xcom import BaseXCom

    return list(BaseXCom.get_all(key=key, dag_id=dag_id, task_id=task_id, run_id=run_id) or ())


def _place_of(ti: Any) -> dict[str, Any]:
    return {
        "dag_id": ti.dag_id,
        "task_id": ti.task_id,
        "run_id": ti.run_id,
        "map_index": ti.map_index if is_mapped(ti) else -1,
    }
