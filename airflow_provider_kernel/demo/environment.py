"""An Airflow of the demo's own: all that must be in the environment before ``airflow`` is imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import airflow_provider_kernel


def examples_folder() -> Path:
    """
    Find the example DAGs: inside the installed package, or next to it in a checkout.

    :raises FileNotFoundError: when they are at neither place.
    """
    package = Path(airflow_provider_kernel.__file__).resolve().parent
    candidates = (package / "dags_examples", package.parent / "dags_examples")
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"the example DAGs are in neither {' nor '.join(map(str, candidates))}")


def give_airflow_a_home(home: Path, app_name: str) -> None:
    """
    Make this process's Airflow one that shares nothing with any other on this machine.

    :param home: its home; made if needed.
    :param app_name: the Kernel app that the examples are to use.
    """
    if "airflow" in sys.modules:
        raise RuntimeError("airflow has been imported already, so it has read its settings; run the demo by itself")
    home = home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    # A shell that is set up for a real Airflow would lead the demo to its database and its connections.
    for name in list(os.environ):
        if name.startswith(("AIRFLOW__", "AIRFLOW_CONN_", "AIRFLOW_VAR_")) or name == "AIRFLOW_CONFIG":
            del os.environ[name]
    os.environ.update(
        AIRFLOW_HOME=str(home),
        AIRFLOW__CORE__DAGS_FOLDER=str(examples_folder()),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        AIRFLOW__CORE__PLUGINS_FOLDER=str(home / "no-plugins"),
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{database(home)}",
        AIRFLOW__USAGE_DATA_COLLECTION__ENABLED="False",
        KERNEL_EXAMPLE_APP=app_name,
    )


def database(home: Path) -> Path:
    """
    Name the file of the demo's database; a name that no real Airflow uses.

    :param home: Airflow's home.
    """
    return home.resolve() / "demo.db"


def has_database(home: Path) -> bool:
    """
    Tell whether the database is there, whole, and of this version of Airflow.

    :param home: Airflow's home.
    """
    marker = _marker(home)
    return database(home).exists() and marker.exists() and marker.read_text() == _airflow_version()


def make_database(home: Path) -> None:
    """
    Make the database anew; nothing in it is worth a migration.

    :param home: Airflow's home.
    """
    from airflow.utils.db import initdb

    _marker(home).unlink(missing_ok=True)
    database(home).unlink(missing_ok=True)
    initdb()
    # Last, so that a half-made one is not taken for whole.
    _marker(home).write_text(_airflow_version())


def _marker(home: Path) -> Path:
    return home.resolve() / "demo.db.version"


def _airflow_version() -> str:
    from importlib.metadata import version

    return version("apache-airflow")
