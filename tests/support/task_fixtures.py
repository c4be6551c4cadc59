"""What tests of tasks in processes of their own need. A folder's conftest imports it; its DAGs are in ``dags``."""

import json

import pytest
from support.execution_api import ExecutionAPI
from support.task_process import BUNDLE


@pytest.fixture
def execution_api() -> ExecutionAPI:
    return ExecutionAPI()


@pytest.fixture(autouse=True)
def a_supervisor_that_looks_often(monkeypatch):
    # It may see the sockets of an ending task close before the process is gone, and then looks again only now.
    monkeypatch.setattr("airflow.sdk.execution_time.supervisor.MIN_HEARTBEAT_INTERVAL", 0.2)


@pytest.fixture(autouse=True)
def dags_folder(request, monkeypatch):
    bundle = {
        "name": BUNDLE,
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(request.path.parent / "dags")},
    }
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))
