"""
Store a record in a try of a task, let the next try begin, and read it in both: on Airflow's own API and database.

The answers are printed as JSON: what the old and the new process get, and whether the old one can write.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from uuid import UUID

from airflow.api_fastapi.execution_api.app import InProcessExecutionAPI
from airflow.models.dagbundle import DagBundleModel
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.sdk.api.client import Client, ServerResponseError
from airflow.serialization.definitions.dag import SerializedDAG
from airflow.serialization.serialized_objects import LazyDeserializedDAG
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import select

KEY = "kernel_invocation"


def make_task_instance() -> UUID:
    """Make a DAG run of one task; return the id of its task instance."""
    with DAG("tries", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:
        EmptyOperator(task_id="t", retries=1)
    described = LazyDeserializedDAG.from_dag(dag)
    now = datetime.now(timezone.utc)
    with create_session() as session:
        session.merge(DagBundleModel(name="tests"))
        session.flush()
        SerializedDAG.bulk_write_to_db("tests", None, [described], session=session)
        SerializedDagModel.write_dag(described, bundle_name="tests", session=session)
        session.flush()
        known = session.scalars(select(SerializedDagModel).where(SerializedDagModel.dag_id == "tries")).one()
        run = known.dag.create_dagrun(
            run_id="r",
            logical_date=now,
            data_interval=(now, now),
            run_after=now,
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.TEST,
            state=DagRunState.RUNNING,
            session=session,
        )
        return UUID(str(run.get_task_instance("t", session=session).id))


def begin_next_try(ti_id: UUID) -> UUID:
    with create_session() as session:
        ti = session.get(TaskInstance, ti_id)
        ti.prepare_db_for_next_try(session)
        return UUID(str(ti.id))


def main() -> None:
    old = make_task_instance()
    store = Client(
        base_url="http://in-process.invalid./", token="", transport=InProcessExecutionAPI().transport
    ).task_state_store
    store.set(old, KEY, "stored", None)
    told = {"present": getattr(store.get(old, KEY), "value", None)}
    new = begin_next_try(old)
    told |= {"old": getattr(store.get(old, KEY), "value", None), "new": getattr(store.get(new, KEY), "value", None)}
    try:
        store.set(old, KEY, "overwritten", None)
    except ServerResponseError as error:
        told["old writes"] = error.response.status_code
    print(json.dumps(told))


if __name__ == "__main__":
    main()
