import pytest
from support.airflow_home import make_home
from support.task_fixtures import a_supervisor_that_looks_often, dags_folder, execution_api

from airflow_provider_kernel.testing import KernelEmulator

__all__ = ["a_supervisor_that_looks_often", "dags_folder", "execution_api"]


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """An Airflow with a database, for commands that run the inline DAGs."""
    return make_home(tmp_path_factory.mktemp("airflow"))


@pytest.fixture(scope="module")
def module_kernel():
    """An emulator for all tests of a module."""
    with KernelEmulator() as emulator:
        yield emulator
