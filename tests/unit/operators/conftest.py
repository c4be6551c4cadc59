from datetime import datetime, timezone

import pytest
from airflow.sdk import DAG
from airflow.sdk.execution_time.supervisor import run_task_in_process
from support.execution_api import ExecutionAPI, task_instance


@pytest.fixture
def execution_api():
    return ExecutionAPI()


@pytest.fixture
def run(execution_api, kernel_connection):
    """Run one task as Airflow does, in this process; with a retry left unless told otherwise."""

    def run(operator_class, *, max_tries=1, map_index=-1, **arguments):
        execution_api.max_tries = max_tries
        with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):
            task = operator_class(task_id="t", retries=max_tries, **arguments)
        return run_task_in_process(ti=task_instance(map_index=map_index), task=task, client=execution_api.client())

    return run
