"""The demo's own Airflow: the environment variables that it reads on import, and its database."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import airflow_provider_kernel


def examples_folder() -> Path:
    """
    Return the folder of the example DAGs: inside the installed package, or next to it in a checkout.

    :raises FileNotFoundError: if neither exists.
    """
    package = Path(airflow_provider_kernel.__file__).resolve().parent
    candidates = (package / "dags_examples", package.parent / "dags_examples")
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"the example DAGs are in neither {' nor '.join(map(str, candidates))}")


def give_airflow_a_home(home: Path) -> None:
    """
    Give this process an Airflow that shares nothing with any other Airflow on this machine.

    :param home: its home, created if needed.
    """
    if "airflow" in sys.modules:
        raise RuntimeError(
            "airflow is imported already and has read its settings; run the demo in a process of its own"
        )
    home = home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    # A shell configured for a real Airflow would point the demo at its database and its connections.
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
        KERNEL_EXAMPLE_APP="demo",
    )


def database(home: Path) -> Path:
    """Return the path of the demo's database; no real Airflow uses this file name."""
    return home.resolve() / "demo.db"


def has_database(home: Path) -> bool:
    """Return whether the database exists, is complete, and was created by this version of Airflow."""
    marker = _marker(home)
    return database(home).exists() and marker.exists() and marker.read_text() == _airflow_version()


def make_database(home: Path) -> None:
    """Create the database from scratch; its contents are not worth a migration."""
    from airflow.utils.db import initdb

    _marker(home).unlink(missing_ok=True)
    database(home).unlink(missing_ok=True)
    initdb()
    # Last, so that an incomplete database has no marker.
    _marker(home).write_text(_airflow_version())


def _marker(home: Path) -> Path:
    return home.resolve() / "demo.db.version"


def _airflow_version() -> str:
    from importlib.metadata import version

    return version("apache-airflow")
