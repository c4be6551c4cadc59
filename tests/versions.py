"""
Run the tests on every supported version of Airflow and Python, and print a table: ``python tests/versions.py``.

Each row gets an environment of its own with uv; a Python that is not installed makes a row that says so. Older
releases of Airflow want libraries of their time, hence the date. With words such as ``3.1.8`` or ``3.10``, only
the rows that have one of them are run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: On the older versions, those that need what Airflow 3.3 brought skip themselves, and say why.
ALL = ("tests/unit", "tests/contract")
#: What may differ by the version of Python: the clients, and what runs on an event loop.
NARROW = (
    "tests/unit/client",
    "tests/unit/hooks",
    "tests/unit/operators/test_deferral.py",
    "tests/unit/operators/test_invoke.py",
    "tests/unit/sensors",
    "tests/unit/triggers",
)

#: Airflow, Python, further requirements, tests.
ROWS = (
    ("3.1.8", "3.10", ("httpx==0.27.0", "tenacity==8.3.0"), ALL),
    ("3.2.2", "3.11", (), ALL),
    ("3.3", "3.12", (), ALL),
    ("3.3", "3.10", (), NARROW),
    ("3.3", "3.13", (), NARROW),
)
DATE_OF_OLDER = "2026-06-15"
ANY_DATE = "2099-01-01"


def main() -> int:
    rows = []
    words = set(sys.argv[1:])
    chosen = [row for row in ROWS if not words or words & {row[0], row[1]}]
    with tempfile.TemporaryDirectory() as scratch:
        for number, (airflow, python, pins, tests) in enumerate(chosen):
            result = run(Path(scratch) / str(number), airflow, python, pins, tests)
            rows.append((airflow, python, " ".join(pins) or "newest", "all" if tests is ALL else "part", result))
    print("\nAirflow  Python  Libraries                       Tests  Result")
    for airflow, python, libraries, tests, result in rows:
        print(f"{airflow:8} {python:7} {libraries:31} {tests:6} {result}")
    return int(any(not row[-1].startswith(("ok", "no Python")) for row in rows))


def run(home: Path, airflow: str, python: str, pins: tuple[str, ...], tests: tuple[str, ...]) -> str:
    uv = shutil.which("uv") or "uv"
    interpreter = find(python)
    if interpreter is None:
        return f"no Python {python} here"
    call([uv, "venv", "--quiet", "--no-config", "--python", interpreter, str(home)])
    older = airflow != "3.3"
    wanted = f"apache-airflow=={airflow}" if older else "apache-airflow>=3.3,<3.4"
    dated = ["--exclude-newer", DATE_OF_OLDER, *undated("kernel", "anyio")] if older else []
    install = [uv, "pip", "install", "--quiet", "--no-config", *dated, "--python", str(home / "bin" / "python")]
    call([*install, wanted, *pins, ".", "--group", "dev"])
    print(f"\n=== Airflow {airflow}, Python {python}", flush=True)
    # One test for each core: .ci/run has two demos beside this, each with a whole Airflow.
    workers = f"--numprocesses={os.cpu_count() or 1}"
    command = [str(home / "bin" / "pytest"), "-q", "-p", "no:cacheprovider", workers, *tests]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
    last = done.stdout.strip().splitlines()[-1:] or ["no output"]
    if done.returncode:
        print(done.stdout[-8000:], done.stderr[-2000:])
        return f"FAILED: {last[0]}"
    skipped = re.search(r"(\d+) skipped", last[0])
    applies = f", {skipped[1]} not applicable" if skipped else ""
    passed = re.search(r"(\d+) passed", last[0])
    return f"ok: {passed[1] if passed else '?'} passed{applies}"


def undated(*packages: str) -> list[str]:
    """Except packages from the date: Kernel's SDK judges, and is no part of what is judged; and what it needs."""
    return [word for name in packages for word in ("--exclude-newer-package", f"{name}={ANY_DATE}")]


def find(python: str) -> str | None:
    """Find an interpreter, among pyenv's or on the path, where pyenv puts one that only says that there is none."""
    installed = sorted(Path.home().glob(f".pyenv/versions/{python}.*/bin/python"))
    return str(installed[-1]) if installed else shutil.which(f"python{python}")


def call(command: list[str]) -> None:
    subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main())
