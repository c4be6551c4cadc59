"""What holds for all tests: an Airflow of their own, and nothing of the machine's Kernel or Airflow settings."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest

pytest_plugins = ["airflow_provider_kernel.testing.fixtures"]

HERE = Path(__file__).parent
#: Timeout of a test in seconds, its fixtures included, in the suites that start processes or a whole Airflow.
TIMEOUTS = {
    "browser": 900,
    "chromium": 180,
    "conformance": 900,
    "docs": 300,
    "examples": 600,
    "idioms": 1000,
    "leaks": 600,
    "package": 600,
    "processes": 180,
    "system": 3600,
}


def _give_airflow_a_home_of_its_own() -> None:
    # Airflow reads these when it is imported, which happens when the first test module is: fixtures are too late.
    home = tempfile.mkdtemp(prefix="airflow-kernel-tests-")
    atexit.register(_remove, home, os.getpid())
    os.environ["AIRFLOW_HOME"] = home
    os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"
    os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
    # No scheduler runs beside most tests. A whole Airflow of the tests has the default.
    os.environ["AIRFLOW__KERNEL__MIN_DEFERRAL"] = "0"


def _remove(home: str, owner: int) -> None:
    # A forked child of a test inherits the hook, but not the right to end the home of the others.
    if os.getpid() == owner:
        shutil.rmtree(home, ignore_errors=True)


def _forget_kernel_settings() -> None:
    for name in list(os.environ):
        if name.startswith(("KERNEL_", "AIRFLOW_CONN_KERNEL")):
            del os.environ[name]


@pytest.fixture
def tell(record_property):
    """Say something at the end of the run, such as how much was tried: ``tell("20,000 answers, 0 escapes")``."""
    return lambda text: record_property("told", text)


def pytest_xdist_auto_num_workers():
    """Run two tests for each core: most of them wait, for a process or for a limit of time."""
    return 2 * (os.cpu_count() or 1)


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "needs_airflow(version, why): what only this version of Airflow and later ones have"
    )


def pytest_collection_modifyitems(items):
    for item in items:
        timeout = TIMEOUTS.get(item.path.relative_to(HERE).parts[0]) if item.path.is_relative_to(HERE) else None
        if timeout is not None and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(timeout))


def pytest_runtest_setup(item):
    for mark in item.iter_markers("needs_airflow"):
        needed, why = mark.args
        from airflow import __version__ as airflow_version

        if tuple(map(int, airflow_version.split(".")[:2])) < tuple(map(int, needed.split("."))):
            pytest.skip(f"needs Airflow {needed}: {why}; this is {airflow_version}")


def pytest_terminal_summary(terminalreporter):
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ())]
    told = [text for report in reports for name, text in report.user_properties if name == "told"]
    if told:
        terminalreporter.section("counts")
        for text in told:
            terminalreporter.line(text)


_give_airflow_a_home_of_its_own()
_forget_kernel_settings()


@pytest.fixture
def refused_key_ends_waits_soon(monkeypatch):
    """Let a wait give up at once where it would for a key that is refused for minutes."""
    monkeypatch.setattr("airflow_provider_kernel.client.outage.ACCESS_SECONDS", 0.0)
