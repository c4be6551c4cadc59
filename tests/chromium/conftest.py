"""Tasks with a page, on Airflow's own supervisor and task runner, and the real Chromium of the emulator."""

import json
import os
from pathlib import Path

import pytest
from support.execution_api import ExecutionAPI
from support.task_process import BUNDLE

from airflow_provider_kernel.testing.resources.browsers.chromium import find_chromium


@pytest.fixture(autouse=True, scope="session")
def chromium():
    found = find_chromium()
    assert found is not None, "these tests need a Chromium; Debian: apt-get install chromium"
    return found


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


@pytest.fixture
def notes(tmp_path, monkeypatch):
    """What the functions of the DAG file have written down, one line each."""
    path = tmp_path / "notes"
    os.mkfifo(tmp_path / "told")
    monkeypatch.setenv("NOTES", str(path))
    monkeypatch.setenv("TOLD", str(tmp_path / "told"))
    return path
