"""Tasks with a page, on Airflow's own supervisor and task runner, and the real Chromium of the emulator."""

import os

import pytest
from support.task_fixtures import a_supervisor_that_looks_often, dags_folder, execution_api

from airflow_provider_kernel.testing.resources.browsers.chromium import find_chromium

__all__ = ["a_supervisor_that_looks_often", "dags_folder", "execution_api"]


@pytest.fixture(autouse=True, scope="session")
def chromium():
    found = find_chromium()
    assert found is not None, "these tests need a Chromium; Debian: apt-get install chromium"
    return found


@pytest.fixture
def notes(tmp_path, monkeypatch):
    """What the functions of the DAG file have written down, one line each."""
    path = tmp_path / "notes"
    os.mkfifo(tmp_path / "told")
    monkeypatch.setenv("NOTES", str(path))
    monkeypatch.setenv("TOLD", str(tmp_path / "told"))
    return path
