"""schemathesis reads Kernel's description and asks the emulator whatever it allows, and whatever it does not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conformance import browsers_description
from conformance.description import amended

from airflow_provider_kernel.testing import KernelEmulator, Switches
from airflow_provider_kernel.testing.resources.browsers import chromium
from airflow_provider_kernel.testing.resources.limits import Limits

#: Fixed, so that a change to the emulator is what makes a failure; set it to "" for another one in each run.
SEED = os.environ.get("SCHEMATHESIS_SEED", "9")
#: How many cases for each operation, in each phase.
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "100")

#: The description calls payload and output text, and unknown fields allowed; the emulator is stricter by default.
AS_DESCRIBED = Switches(payload_must_be_json=False, unknown_fields_refused=False)


@pytest.fixture
def judge(tmp_path, tell):
    """Run schemathesis with a description; return the number of cases."""

    def judge(document, emulator):
        program = Path(sys.executable).with_name("schemathesis")
        assert program.exists(), "This test needs schemathesis: run it with `uv run --group conformance pytest ...`"
        description = tmp_path / "kernel.json"
        description.write_text(json.dumps(document))
        command = [str(program), "run", str(description), "--url", emulator.base_url, "--checks", "all"]
        command += ["--header", f"Authorization: Bearer {emulator.api_key}", "--max-examples", EXAMPLES]
        command += ["--request-timeout", "30", "--phases", "examples,coverage,fuzzing,stateful", "--no-color"]
        command += ["--seed", SEED] if SEED else []
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False)
        assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
        cases = re.search(r"(\d+) generated, \d+ passed", run.stdout)
        assert cases, run.stdout
        tell(f"schemathesis: {cases[1]} cases in {len(emulator.journal)} requests, all checks, 0 failures")

    return judge


def test_emulator_passes_all_checks_of_schemathesis(judge):
    with KernelEmulator(switches=AS_DESCRIBED, time_scale=1000.0) as emulator:
        judge(amended(), emulator)
        # It got further than to the errors.
        assert {"succeeded", "failed"} <= {invocation.status for invocation in emulator.invocations}


def test_emulated_browsers_pass_all_checks_of_schemathesis(judge, monkeypatch):
    monkeypatch.setenv(chromium.VARIABLE, "/none")
    with KernelEmulator(switches=AS_DESCRIBED) as emulator:
        emulator.room(Limits).max_concurrent_sessions = 1_000_000
        judge(browsers_description.amended(), emulator)
        assert {browser.end_cause for browser in emulator.browsers} >= {"deleted", None}
