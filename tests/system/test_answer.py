"""
Kernel waits, Airflow answers: Kernel's own SDK calls, the action starts a DAG over REST, and the DAG ends it.

The action is the example app's own, run in the emulator; what the caller sees is what the SDK reads.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
from collections import Counter
from pathlib import Path

import httpx
import pytest
from kernel import Kernel, KernelContext

from airflow_stack.rest import wait_until

DAGS = {
    "answers",
    "answers_with_retries",
    "answers_in_time",
    "run_answers_in_time",
    "notifies",
    "notifies_total",
    "run_notifies_in_time",
    "watches",
}
MARKED = "The Airflow task was marked as failed"
RUN_FAILED = "The Airflow DAG run failed; failed: answer"
TIMED_OUT = "The Airflow DAG run failed (timed_out)"


class Call:
    """An invocation whose caller waits for a DAG."""

    def __init__(self, matrix, client, dag_id, mode):
        self._matrix, self._client, self.dag_id = matrix, client, dag_id
        self.id = client.invocations.create(
            app_name="orders",
            action_name="count",
            version="latest",
            payload=json.dumps({"mode": mode}),
            async_=True,
            async_timeout_seconds=600,
        ).id
        self.run_id = f"kernel__{self.id}"

    def until_worked_on(self, what="answering"):
        """Wait until the task's function runs, and tell its process."""
        found = []

        def runs():
            found[:] = [n for n in self._matrix.notices(self.run_id) if n["what"] == what]
            return bool(found)

        wait_until(runs, timeout=90, what=lambda: "the task does not run")
        return found[-1]["pid"]

    def answer(self):
        """Wait for the answer: the status, and the output as the caller reads it."""
        kernel = self._matrix.kernel
        kernel.wait_until(lambda: kernel.invocation(self.id).finished, timeout=120)
        return self._as_read(self._client.invocations.retrieve(self.id))

    def followed(self):
        """Follow it to its end, and tell the answer as the last event does."""
        events = self._client.invocations.follow(self.id, timeout=120)
        return self._as_read([e.invocation for e in events if e.event == "invocation_state"][-1])

    def until_the_run_is_over(self):
        """Wait until the DAG run has ended."""
        api = self._matrix.stack.api
        wait_until(
            lambda: api.run_state(self.dag_id, self.run_id) in ("success", "failed"),
            timeout=90,
            what=lambda: "the DAG run goes on",
        )

    def until_found_over(self):
        """Wait until who comes second, the killed task or the DAG's callback, has looked: each looks first."""

        def found_over():
            ours = [r for r in self._requests() if r.headers["user-agent"].startswith("airflow-provider-kernel")]
            methods = [r.method for r in ours]
            return "GET" in methods[methods.index("PATCH") :]

        wait_until(found_over, timeout=90, what=lambda: "\n".join(map(str, self._requests())))

    @property
    def endings(self):
        """How many requests to end it there were."""
        return len([r for r in self._requests() if r.method == "PATCH"])

    def _requests(self):
        return self._matrix.kernel.requests(None, f"/invocations/{self.id}")

    @staticmethod
    def _as_read(invocation):
        return invocation.status, json.loads(invocation.output)


@pytest.fixture(scope="module")
def app():
    """The example app, whose action hands its invocation to a DAG."""
    spec = importlib.util.spec_from_file_location(
        "kernel_app", Path(__file__).parents[2] / "kernel_app_example" / "app.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.app


@pytest.fixture(scope="module")
def calls():
    """All calls; whatever became of their DAG runs since, each was ended by one request."""
    calls = []
    yield calls
    endings = {f"{call.dag_id} {call.id}": call.endings for call in calls}
    assert set(endings.values()) <= {1}, endings


@pytest.fixture
def client(kernel):
    with Kernel(api_key=kernel.api_key, base_url=kernel.base_url) as client:
        yield client


@pytest.fixture
def call(matrix, kernel, stack, client, app, calls, monkeypatch):
    """Call the action, whose app starts a DAG, and go on without waiting."""
    (action,) = app.actions.values()

    async def run(ctx, payload):
        return await action.handler(KernelContext(invocation_id=ctx.invocation_id), payload)

    kernel.register("orders", action.name, run)
    monkeypatch.setenv("AIRFLOW_URL", stack.url)
    monkeypatch.setenv("AIRFLOW_TOKEN", stack.api.token)
    stack.wait_for_dags(DAGS)

    def call(dag_id, mode):
        monkeypatch.setenv("AIRFLOW_DAG", dag_id)
        calls.append(Call(matrix, client, dag_id, mode))
        return calls[-1]

    return call


def test_caller_gets_what_the_function_returned(call):
    asked = call("answers", "ok")
    assert asked.followed() == asked.answer() == ("succeeded", {"orders": 42, "try": 1})
    asked.until_the_run_is_over()
    assert asked.endings == 1


def test_exception_fails_the_waiting_invocation(call):
    asked = call("answers", "raise")
    assert asked.followed() == asked.answer() == ("failed", {"error": "ValueError: sold out"})
    asked.until_found_over()
    assert asked.endings == 1


def test_exception_with_retries_left_leaves_the_waiting_invocation(call):
    asked = call("answers_with_retries", "retry")
    assert asked.answer() == ("succeeded", {"orders": 42, "try": 2})
    asked.until_the_run_is_over()
    assert asked.endings == 1


def test_execution_timeout_fails_the_waiting_invocation(call):
    asked = call("answers_in_time", "wait")
    status, output = asked.answer()
    assert status == "failed"
    assert output["error"].startswith("AirflowTaskTimeout")
    asked.until_found_over()
    assert asked.endings == 1


def test_task_marked_failed_fails_the_waiting_invocation(call, stack):
    asked = call("answers", "wait")
    asked.until_worked_on()
    stack.api.mark("answers", asked.run_id, "answer", "failed")
    status, output = asked.answer()
    assert status == "failed"
    # The task hears of it and the DAG's callback is called; either may be the first one to tell.
    assert output["error"] in (MARKED, RUN_FAILED)
    asked.until_found_over()
    assert asked.endings == 1


def test_dag_run_marked_failed_fails_the_waiting_invocation(call, stack):
    asked = call("answers", "wait")
    asked.until_worked_on()
    stack.api.mark_run("answers", asked.run_id, "failed")
    # Airflow calls no callback of the DAG then: the task alone hears of it.
    assert asked.answer() == ("failed", {"error": MARKED})
    asked.until_the_run_is_over()
    assert asked.endings == 1


def test_sigkill_fails_the_waiting_invocation(call):
    asked = call("answers", "wait")
    os.kill(asked.until_worked_on(), signal.SIGKILL)
    # Nothing is left of the task that could answer: the DAG's callback does.
    assert asked.answer() == ("failed", {"error": RUN_FAILED})
    assert asked.endings == 1


def test_sigkill_with_retries_left_leaves_the_waiting_invocation(call):
    asked = call("answers_with_retries", "wait")
    os.kill(asked.until_worked_on(), signal.SIGKILL)
    assert asked.answer() == ("succeeded", {"orders": 42, "try": 2})
    asked.until_the_run_is_over()
    assert asked.endings == 1


def test_clear_leaves_the_waiting_invocation(call, stack):
    asked = call("answers", "wait")
    asked.until_worked_on()
    stack.api.clear("answers", asked.run_id, "answer")
    assert asked.answer() == ("succeeded", {"orders": 42, "try": 2})
    asked.until_the_run_is_over()
    assert asked.endings == 1


def test_dagrun_timeout_fails_the_waiting_invocation(call):
    asked = call("run_answers_in_time", "wait")
    asked.until_worked_on()
    status, output = asked.answer()
    assert status == "failed"
    # Airflow skips the task, and calls the DAG's callback; either may be the first one to tell.
    assert output["error"] in ("The Airflow task was skipped", TIMED_OUT)
    asked.until_found_over()
    assert asked.endings == 1


def test_notifier_sends_what_a_mapped_task_returned(call):
    asked = call("notifies", "ok")
    assert asked.answer() == ("succeeded", [10, 20, 30])
    assert asked.endings == 1


def test_notifier_sends_what_a_task_returned_after_retries(call):
    asked = call("notifies_total", "retry")
    assert asked.answer() == ("succeeded", 60)
    assert asked.endings == 1


def test_notifier_names_the_tasks_that_failed(call):
    asked = call("notifies_total", "raise")
    assert asked.answer() == ("failed", {"error": "The Airflow DAG run failed; failed: visit[1], visit[2]"})
    assert asked.endings == 1


def test_notifier_says_that_the_run_timed_out(call):
    asked = call("run_notifies_in_time", "wait")
    asked.until_worked_on("visiting")
    assert asked.answer() == ("failed", {"error": TIMED_OUT})
    assert asked.endings == 1


class Shop:
    """An app whose finished invocations make asset events."""

    def __init__(self, kernel, stack, client):
        self._kernel, self._api, self._client = kernel, stack.api, client
        self.ids = set()
        kernel.register("shop", "buy", lambda ctx, payload: payload)
        kernel.register("shop", "look", lambda ctx, payload: payload)

    def finish(self, count):
        """Let some invocations start and finish, and tell which; another action's are among them."""
        ids = {self._create("buy") for _ in range(count)}
        self._create("look")
        self._kernel.wait_until(lambda: all(self._kernel.invocation(i).finished for i in ids), timeout=30)
        self.ids |= ids
        return ids

    def told(self):
        """Count the asset events of each invocation; None when Airflow does not list them."""
        try:
            events = self._api.asset_events("shop_finished")
        except httpx.HTTPStatusError as error:
            # Airflow cannot list an event while a DAG run that it made has not begun.
            if error.response.status_code != 500:
                raise
            return None
        return Counter(event["extra"]["payload"]["invocation_id"] for event in events)

    def until_watched(self):
        """Wait until the watcher has begun: it does not tell of what had finished before."""
        wait_until(lambda: self._noted() is not None, timeout=90, what=lambda: "the watcher does not look")

    def until_all_told(self):
        """Wait until there is an event for each, and return the counts."""
        told = Counter()

        def all_told():
            told.clear()
            told.update(self.told() or ())
            return set(told) >= self.ids

        wait_until(all_told, timeout=90, what=lambda: f"{len(self.ids - set(told))} were not told")
        return told

    def until_told_some_of(self, ids):
        """Wait until there is an event for one of them."""
        wait_until(lambda: ids & set(self.told() or ()), timeout=90, what=lambda: "none was told")

    def until_noted(self):
        """Wait until the watcher has noted that it told of all so far: from then on it will not again."""
        wait_until(
            lambda: self.ids <= set((self._noted() or {}).get("delivered", ())),
            timeout=120,
            what=lambda: f"{len(self.ids - set(self.told() or ()))} of {len(self.ids)} were not told",
        )

    def _create(self, action_name):
        return self._client.invocations.create(
            app_name="shop", action_name=action_name, version="latest", async_=True
        ).id

    def _noted(self):
        return self._api.asset_state("shop_finished", "kernel_invocation_finished")


@pytest.fixture
def triggerer(stack):
    """The triggerer, running again after the test."""
    triggerer = stack.programs["triggerer"]
    yield triggerer
    if not triggerer.is_running:
        triggerer.stop()
        triggerer.start()
    stack.wait_until_healthy()


def test_every_finished_invocation_is_an_asset_event_over_two_triggerer_restarts(kernel, stack, client, triggerer):
    stack.wait_for_dags(DAGS)
    shop = Shop(kernel, stack, client)
    shop.until_watched()
    shop.finish(30)
    shop.until_noted()

    caught_between = set()
    for how in (signal.SIGTERM, signal.SIGKILL):
        told_of = shop.finish(15)
        shop.until_told_some_of(told_of)
        triggerer.stop(how)
        caught_between |= told_of
        shop.finish(10)  # while there is no triggerer
        triggerer.start()
        shop.finish(10)  # while there is not yet one again
        shop.until_noted()

    assert len(shop.ids) == 100
    told = shop.until_all_told()
    assert set(told) == shop.ids
    # The one limit: Airflow had stored these events, but the triggerer ended before it could note so, and so the
    # next one told of them again, with the same id. Nothing else is told twice, and nothing a third time.
    twice = {invocation_id for invocation_id, times in told.items() if times > 1}
    assert twice <= caught_between
    assert max(told.values()) <= 2
