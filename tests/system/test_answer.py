"""
Kernel waits, Airflow answers: Kernel's own SDK calls, the action starts a DAG over REST, and the DAG ends it.

The action runs the example app's own code in the emulator; what the caller sees is what the SDK reads.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
from pathlib import Path

import httpx
import pytest
from kernel import Kernel

from airflow_stack.rest import wait_until

DAGS = {"answers", "answers_with_retries", "notified", "watched"}
FINISHED = 100


@pytest.fixture(scope="module")
def app():
    """The example app, whose action hands its invocation to a DAG."""
    spec = importlib.util.spec_from_file_location(
        "app", Path(__file__).parents[2] / "kernel_app_example" / "app.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def client(kernel):
    with Kernel(api_key=kernel.api_key, base_url=kernel.base_url) as client:
        yield client


class Call:
    """An invocation whose caller waits for a DAG."""

    def __init__(self, matrix, client, dag_id, mode):
        self._matrix, self._client, self.dag_id = matrix, client, dag_id
        created = client.invocations.create(
            app_name="orders",
            action_name=dag_id,
            version="latest",
            payload=json.dumps({"mode": mode}),
            async_=True,
            async_timeout_seconds=600,
        )
        self.id = created.id
        self.run_id = f"kernel__{self.id}"

    def until_worked_on(self):
        """Wait until the task's function runs, and tell its process."""
        found = []

        def runs():
            found[:] = [n for n in self._matrix.notices(self.run_id) if n["what"] == "answering"]
            return bool(found)

        wait_until(runs, timeout=90, what=lambda: "the task does not run")
        return found[-1]["pid"]

    def answer(self):
        """Wait for the answer: the status, and the output as the caller reads it."""
        self._matrix.kernel.wait_until(lambda: self._matrix.kernel.invocation(self.id).finished, timeout=120)
        invocation = self._client.invocations.retrieve(self.id)
        return invocation.status, json.loads(invocation.output)

    def until_the_run_is_over(self):
        api = self._matrix.stack.api
        wait_until(
            lambda: api.run_state(self.dag_id, self.run_id) in ("success", "failed"),
            timeout=90,
            what=lambda: "the DAG run goes on",
        )

    @property
    def endings(self):
        """How many requests to end it there were."""
        return len(self._matrix.kernel.requests("PATCH", f"/invocations/{self.id}"))


@pytest.fixture
def call(matrix, kernel, stack, client, app, monkeypatch):
    monkeypatch.setenv("AIRFLOW_URL", stack.url)
    monkeypatch.setenv("AIRFLOW_TOKEN", stack.api.token)

    def call(dag_id, mode):
        def count(ctx, payload):
            asyncio.run(app.trigger_dag(ctx.invocation_id, payload))
            ctx.wait()

        monkeypatch.setenv("AIRFLOW_DAG", dag_id)
        kernel.register("orders", dag_id, count)
        return Call(matrix, client, dag_id, mode)

    stack.wait_for_dags(DAGS)
    return call


def test_the_caller_gets_what_the_function_returned(call, client):
    asked = call("answers", "ok")
    states = [e.invocation.status for e in client.invocations.follow(asked.id) if e.event == "invocation_state"]
    assert states[-1] == "succeeded"
    assert asked.answer() == ("succeeded", {"orders": 42, "try": 1})
    asked.until_the_run_is_over()
    assert asked.endings == 1


def test_an_exception(call):
    asked = call("answers", "raise")
    assert asked.answer() == ("failed", {"error": "ValueError: sold out"})
    asked.until_the_run_is_over()
    assert asked.endings == 1


def test_an_exception_with_retries_left_is_left_to_the_next_try(call):
    asked = call("answers_with_retries", "retry")
    assert asked.answer() == ("succeeded", {"orders": 42, "try": 2})
    asked.until_the_run_is_over()
    assert asked.endings == 1


def test_an_execution_timeout(call):
    status, output = call("answers", "wait").answer()
    assert status == "failed"
    assert "AirflowTaskTimeout" in output["error"]


@pytest.mark.parametrize("what", ["task", "run"])
def test_marked_failed(what, call, stack):
    asked = call("answers", "wait")
    asked.until_worked_on()
    if what == "task":
        stack.api.mark("answers", asked.run_id, "answer", "failed")
    else:
        stack.api.mark_run("answers", asked.run_id, "failed")
    status, output = asked.answer()
    assert status == "failed"
    assert output["error"]


def test_a_sigkill(call):
    asked = call("answers", "wait")
    os.kill(asked.until_worked_on(), signal.SIGKILL)
    status, output = asked.answer()
    assert status == "failed"
    assert output["error"]


def test_a_sigkill_with_retries_left_is_left_to_the_next_try(call):
    asked = call("answers_with_retries", "wait")
    os.kill(asked.until_worked_on(), signal.SIGKILL)
    assert asked.answer() == ("succeeded", {"orders": 42, "try": 2})


def test_a_clear_is_left_to_the_next_try(call, stack):
    asked = call("answers", "wait")
    asked.until_worked_on()
    stack.api.clear("answers", asked.run_id, "answer")
    status, output = asked.answer()
    assert status == "succeeded"
    assert output["orders"] == 42
    assert asked.endings == 1


@pytest.mark.parametrize(("mode", "status"), [("ok", "succeeded"), ("retry", "succeeded"), ("raise", "failed")])
def test_a_dag_with_the_notifier_ends_it_once(mode, status, call):
    asked = call("notified", mode)
    ended, output = asked.answer()
    assert ended == status
    assert output == [10, 20, 30] if status == "succeeded" else "visit" in output["error"]
    asked.until_the_run_is_over()
    assert asked.endings == 1


def test_every_finished_one_is_an_asset_event_although_the_triggerer_restarts_twice(matrix, kernel, stack, client):
    stack.wait_for_dags(DAGS)
    kernel.register("shop", "buy", lambda ctx, payload: payload)
    kernel.wait_for("GET", "/invocations", timeout=60)  # the watcher looks
    triggerer = stack.programs["triggerer"]
    ids = set()
    for number in range(FINISHED):
        if number in (FINISHED // 3, 2 * FINISHED // 3):
            triggerer.stop()
            triggerer.start()
        created = client.invocations.create(app_name="shop", action_name="buy", version="latest", async_=True)
        ids.add(created.id)
    told = []

    def all_told():
        try:
            events = stack.api.asset_events("shop_finished")
        except httpx.HTTPStatusError as error:
            # Airflow cannot list an event while a DAG run that it made has not begun.
            if error.response.status_code != 500:
                raise
            return False
        told[:] = [event["extra"]["payload"]["invocation_id"] for event in events]
        return set(told) >= ids

    wait_until(all_told, timeout=180, what=lambda: f"{len(ids - set(told))} of {FINISHED} were not told")
    assert set(told) == ids
    # What Airflow had stored in the moment before a triggerer ended may be told again, under the same id.
    print(f"{len(told)} events for {FINISHED} invocations")
