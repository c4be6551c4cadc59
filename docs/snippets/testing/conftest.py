"""What tests of DAGs need: an Airflow of their own, and the emulator."""

# [conftest]
import os
import tempfile
from pathlib import Path

import pytest

# Before anything imports airflow: it reads these once.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-tests-")
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(Path(__file__).parents[1] / "dags")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

pytest_plugins = ["airflow_provider_kernel.testing.fixtures"]


@pytest.fixture(scope="session")
def airflow_database():
    from airflow.utils.db import initdb

    initdb()


# [/conftest]
