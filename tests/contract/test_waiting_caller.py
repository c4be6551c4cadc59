"""
Somebody waits for Airflow: Kernel's own SDK calls, the example app triggers a DAG over REST, the DAG answers.

Airflow's REST API is a stand-in that takes the request the example app makes; the DAG's task is run as Airflow runs
it. The emulator is asked by the SDK as Kernel is by its users.
"""

import importlib.util
import json
import threading
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import kernel
import pytest
from airflow.sdk import DAG
from support.execution_api import ExecutionAPI, task_instance
from support.in_process import run_task

from airflow_provider_kernel.operators.invocation_task import KernelInvocationTaskOperator

APP = Path(__file__).parents[2] / "kernel_app_example" / "app.py"


class AirflowREST:
    """The one endpoint of Airflow's REST API that triggers a DAG; what it is asked for is kept."""

    def __init__(self):
        self.triggered = []
        self.status = 200
        self.arrived = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.triggered.append((self.path, self.headers["Authorization"], body))
                self.send_response(outer.status)
                self.end_headers()
                outer.arrived.set()

            def log_message(self, *arguments):
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def airflow(monkeypatch):
    with AirflowREST() as rest:
        monkeypatch.setenv("AIRFLOW_URL", rest.url)
        monkeypatch.setenv("AIRFLOW_TOKEN", "a-token")
        yield rest


@pytest.fixture
def app(kernel_emulator, airflow):
    """The example app, deployed."""
    spec = importlib.util.spec_from_file_location("kernel_app", APP)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (action,) = module.app.actions.values()

    async def run(ctx, payload):
        return await action.handler(kernel.KernelContext(invocation_id=ctx.invocation_id), payload)

    kernel_emulator.register("orders", action.name, run)
    return module


@pytest.fixture
def caller(kernel_emulator):
    with kernel.Kernel(api_key=kernel_emulator.api_key, base_url=kernel_emulator.base_url) as client:
        yield client


@pytest.fixture
def call(caller, app):
    """Call the action, and go on without waiting."""

    def call():
        return caller.invocations.create(
            app_name="orders", action_name="count", version="latest", payload='{"city": "Lisbon"}', async_=True
        ).id

    return call


@pytest.fixture
def run_dag(airflow, kernel_connection):
    """Run the task of the DAG run that was triggered."""

    def run_dag(function, *, max_tries=0, **arguments):
        assert airflow.arrived.wait(20)
        api = ExecutionAPI(conf=airflow.triggered[-1][2]["conf"], max_tries=max_tries)
        with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):
            task = KernelInvocationTaskOperator(task_id="t", python_callable=function, **arguments)
        return run_task(ti=task_instance(), task=task, client=api.client())

    return run_dag


def test_app_hands_over_the_invocation_id_and_its_payload(call, airflow):
    invocation_id = call()
    assert airflow.arrived.wait(20)
    assert airflow.triggered == [
        (
            "/api/v2/dags/example_kernel_answer/dagRuns",
            "Bearer a-token",
            {
                "dag_run_id": f"kernel__{invocation_id}",
                "logical_date": None,
                "conf": {"city": "Lisbon", "kernel_invocation_id": invocation_id},
            },
        )
    ]


def test_waiting_caller_gets_the_output_of_the_dag(call, caller, run_dag):
    invocation_id = call()
    assert run_dag(lambda dag_run: {"orders": 42, "in": dag_run.conf["city"]}).state == "success"
    invocation = caller.invocations.retrieve(invocation_id)
    assert invocation.status == "succeeded"
    assert json.loads(invocation.output) == {"orders": 42, "in": "Lisbon"}


def test_waiting_caller_that_follows_sees_the_end(call, caller, run_dag):
    invocation_id = call()
    states = []

    def follow():
        for event in caller.invocations.follow(invocation_id):
            if event.event == "invocation_state":
                states.append((event.invocation.status, event.invocation.output))

    follower = threading.Thread(target=follow)
    follower.start()
    run_dag(lambda: "done")
    follower.join(20)
    assert states[-1] == ("succeeded", '"done"')


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [({}, "ValueError: sold out"), ({"execution_timeout": timedelta(seconds=0.3)}, "AirflowTaskTimeout")],
)
def test_waiting_caller_gets_the_reason_of_a_failure(arguments, reason, call, caller, run_dag):
    def function():
        if arguments:
            threading.Event().wait()
        raise ValueError("sold out")

    invocation_id = call()
    assert run_dag(function, **arguments).state == "failed"
    invocation = caller.invocations.retrieve(invocation_id)
    assert invocation.status == "failed"
    assert json.loads(invocation.output)["error"].startswith(reason)


def test_waiting_caller_gets_the_error_when_airflow_refuses_the_run(call, caller, airflow, kernel_emulator):
    airflow.status = 403
    invocation_id = call()
    kernel_emulator.wait_for_status(invocation_id, "failed")
    assert "403" in caller.invocations.retrieve(invocation_id).output


def test_app_takes_an_existing_dag_run_for_its_own(call, caller, airflow, run_dag):
    airflow.status = 409
    invocation_id = call()
    assert run_dag(lambda: "done").state == "success"
    assert caller.invocations.retrieve(invocation_id).status == "succeeded"


def test_waiting_caller_that_gives_up_ends_the_work(call, caller, run_dag, kernel_emulator):
    invocation_id = call()

    def function(kernel_invocation):
        caller.invocations.update(invocation_id, status="failed", output='{"error": "changed my mind"}')
        kernel_invocation.check()
        raise AssertionError("went on")

    assert run_dag(function, max_tries=3).state == "failed"
    assert json.loads(caller.invocations.retrieve(invocation_id).output) == {"error": "changed my mind"}
    assert len(kernel_emulator.requests("PATCH")) == 1
