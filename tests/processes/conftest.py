import json
from pathlib import Path

import pytest
from support.airflow_home import make_home
from support.execution_api import ExecutionAPI
from support.task_process import BUNDLE

from airflow_provider_kernel.testing import KernelEmulator


@pytest.fixture
def execution_api() -> ExecutionAPI:
    return ExecutionAPI()


@pytest.fixture(autouse=True)
def a_supervisor_that_looks_often(monkeypatch):
    # It may see the sockets of an ending task close before the process is gone, and then looks again only now.
    monkeypatch.setattr("airflow.sdk.execution_time.supervisor.MIN_HEARTBEAT_INTERVAL", 0.2)


@pytest.fixture(autouse=True)
def dags_folder(monkeypatch):
    bundle = {
        "name": BUNDLE,
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(Path(__file__).parent / "dags")},
    }
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """An Airflow with a database, for commands that run the inline DAGs."""
    return make_home(tmp_path_factory.mktemp("airflow"))


@pytest.fixture(scope="module")
def module_kernel():
    """An emulator for all tests of a module."""
    with KernelEmulator() as emulator:
        yield emulator
