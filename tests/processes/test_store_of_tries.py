"""Airflow's task state store shows a record to the present try only: what a killed process goes by."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.needs_airflow("3.3", "before, there is no store")


def test_store_answers_an_old_process_as_if_nothing_were_stored(home):
    """Airflow gives the task instance another id for each try, and the API goes by the id."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("store_of_tries.py"))],
        env=home.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == {"present": "stored", "old": None, "new": "stored", "old writes": 404}
