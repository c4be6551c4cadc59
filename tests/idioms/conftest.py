import json
import sys
from pathlib import Path

import pytest
from support.airflow_home import make_home

from airflow_provider_kernel.testing import Fault, KernelEmulator

DAGS = Path(__file__).parent / "dags"
APP, VERSION = "2048", "1.10"
NEW_KEY = "sk-new-key-of-the-emulator"
#: How long the runs of one process may take. ``dag.test()`` of older releases needs some seconds for each task.
LONGEST_SECONDS = 900


@pytest.fixture(scope="session")
def kernel():
    """An emulator with an action that ends once it was polled twice, and one that waits for its end."""
    with KernelEmulator() as emulator:

        def ends_when_polled(ctx, payload):
            emulator.wait_for("GET", f"/invocations/{ctx.invocation_id}", 2, timeout=LONGEST_SECONDS)
            return payload

        emulator.register(APP, "7", ends_when_polled, VERSION)
        emulator.register(APP, "replaces_the_key", lambda ctx: emulator.replace_key(NEW_KEY), VERSION)
        emulator.register(APP, "waits", lambda ctx: ctx.wait(), VERSION)
        # Scripts need a Chromium; what they do is tested elsewhere.
        emulator.add_fault(
            Fault("POST", "/browsers/*/playwright/execute", nth=None, body={"success": True, "result": {"n": 0}})
        )
        yield emulator


@pytest.fixture(scope="session")
def play(tmp_path_factory, kernel):
    """Run the DAGs of idioms in a process of their own, and return what became of them."""
    home = make_home(tmp_path_factory.mktemp("idioms"), DAGS)
    home.environment["AIRFLOW_CONN_KERNEL_OF_DEFAULT_ARGS"] = kernel.airflow_connection
    connection = {**json.loads(kernel.airflow_connection), "password": NEW_KEY}
    home.environment["NEW_CONNECTION"] = json.dumps(connection)
    home.environment["PYTHONPATH"] = str(DAGS.parents[1])

    def run(*idioms, **environment):
        home.environment.update(environment)
        result = home.output.with_name("result.json")
        with home.running([sys.executable, str(DAGS / "idioms.py"), str(result), *idioms], kernel) as process:
            assert process.wait(LONGEST_SECONDS) == 0, home.output.read_text()[-8000:]
        return json.loads(result.read_text())

    return run


@pytest.fixture(scope="session")
def plain_runs(play):
    return play(
        *("expand", "expand_kwargs", "output", "output_of_mapped", "native", "default_args"),
        *("mapped_group", "teardown", "setup", "rotated_key", "callbacks"),
    )


@pytest.fixture(scope="session")
def runs_of_another_backend(play, plain_runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("xcom")
    backend = {"AIRFLOW__CORE__XCOM_BACKEND": "support.file_xcom.FileXCom", "FILE_XCOM": str(folder)}
    return play("xcom_backend", "callbacks", **backend)
