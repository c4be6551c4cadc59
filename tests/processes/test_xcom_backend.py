"""
A custom XCom backend: links and ownership records go past it, what users read goes through it.

So a page shows each link; callbacks, the sweep and a resumed task find what to end also where the backend fails.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.file_xcom import PREFIX

HERE = Path(__file__).parent
LINK, OWNER = "_link_KernelDashboardLink", "kernel_invocation_owner"


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What a process told that ran tasks under the backend."""
    folder = tmp_path_factory.mktemp("backend")
    answer = folder.with_name("told")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "AIRFLOW__CORE__XCOM_BACKEND": "support.file_xcom.FileXCom",
        "FILE_XCOM": str(folder),
    }
    program = [sys.executable, str(HERE / "under_xcom_backend.py"), str(answer)]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return json.loads(answer.read_text())


@pytest.mark.parametrize("when", ["stored", "stored while it waits"])
def test_link_and_ownership_record_are_stored_past_a_custom_backend(when, told):
    assert told[when][LINK].startswith("https://d.example/")
    assert told[when][OWNER]["external_id"] in told["ids"]


def test_id_and_output_are_stored_through_a_custom_backend(told):
    assert {key for key, value in told["stored"].items() if str(value).startswith(PREFIX)} == {
        "invocation_id",
        "return_value",
    }


def test_id_and_output_are_pulled_through_a_custom_backend(told):
    assert told["pulled"] == {"invocation_id": told["ids"][0], "return_value": {"a": 1}}


@pytest.mark.parametrize("act", ["safety_net", "sweep", "ended_deferral"])
def test_invocation_is_ended_where_the_custom_backend_is_not_reachable(act, told):
    assert told["ends"][act] == "failed"
