"""Where the documentation is, and an Airflow in which its snippets run."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from kernel import KernelContext

from airflow_provider_kernel.testing import KernelEmulator

DOCS = Path(__file__).parents[2] / "docs"
SNIPPETS = DOCS / "snippets"


@dataclass(frozen=True)
class Shell:
    """
    A reader's shell: an Airflow of its own with the snippets' DAGs, and a Kernel to talk to.

    :param home: Airflow's home.
    :param environment: what is set in it.
    """

    home: Path
    environment: Mapping[str, str]

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.home,
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )


@pytest.fixture(scope="session")
def kernel():
    """An emulator for all snippets, with the app and the project that pages name."""
    with KernelEmulator() as emulator:
        app = runpy.run_path(str(SNIPPETS / "app" / "main.py"))["app"]
        (action,) = app.actions.values()

        async def run(ctx, payload):
            return await action.handler(KernelContext(invocation_id=ctx.invocation_id), payload)

        emulator.register(app.name, action.name, run)
        emulator.add_project("shop")
        yield emulator


@pytest.fixture(scope="session")
def shell(tmp_path_factory, kernel):
    home = tmp_path_factory.mktemp("reader")
    foreign = ("AIRFLOW", "KERNEL_", "PYTEST_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return Shell(
        home,
        {
            **inherited,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{inherited['PATH']}",
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(SNIPPETS / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "AIRFLOW_CONN_KERNEL_DEFAULT": kernel.airflow_connection,
        },
    )
