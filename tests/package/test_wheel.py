"""The wheel, as users install it."""

import json
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def uv():
    """Find uv: it says where it is when it runs us, and else it is on the path."""
    found = os.environ.get("UV") or shutil.which("uv")
    assert found, "this test builds and installs the wheel with uv: run it with `uv run pytest`"
    return found


def run(*command, **environment):
    env = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    done = subprocess.run(
        [str(part) for part in command], env={**env, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    run(uv(), "build", "--wheel", "--out-dir", folder, ROOT)
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_wheel_has_package_typing_marker_logo_and_examples(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "airflow_provider_kernel/integration-logos/airflow-provider-kernel.svg" in names
    assert "airflow_provider_kernel/py.typed" in names
    for example in (ROOT / "dags_examples").glob("*.py"):
        assert f"airflow_provider_kernel/dags_examples/{example.name}" in names
    assert not {name for name in names if name.startswith(("tests/", "dags_examples/"))}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_wheel_requires_server_tables_and_playwright_only_for_extras(wheel):
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    required = re.findall(r"^Requires-Dist: ([\w-]+).*?(; .*)?$", archive.read(metadata).decode(), re.MULTILINE)
    assert {(name, marker[2:]) for name, marker in required if marker} == {
        *((name, "extra == 'emulator'") for name in ("rich", "starlette", "uvicorn", "websockets")),
        ("playwright", "extra == 'playwright'"),
    }


def test_wheel_in_an_empty_environment_is_listed_by_airflow(wheel, tmp_path):
    run(uv(), "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    # The versions that this project is tested with, as a range: the same ones that its own environment has.
    run(uv(), "pip", "install", "--python", python, wheel, "apache-airflow>=3.3.2,<3.4", "pydantic<2.15")
    listed = run(
        python,
        "-m",
        "airflow",
        "providers",
        "list",
        "--output",
        "json",
        AIRFLOW_HOME=str(tmp_path / "home"),
        AIRFLOW__LOGGING__LOGGING_LEVEL="ERROR",
    )
    providers = {row["package_name"]: row for row in json.loads(listed[listed.index("[") :])}
    assert "airflow-provider-kernel" in providers
    assert "Kernel" in providers["airflow-provider-kernel"]["description"]
    printed = run(tmp_path / "venv" / "bin" / "airflow-kernel", "--version")
    assert printed.startswith("airflow-provider-kernel ")
