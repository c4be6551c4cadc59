"""Each limit of time, in each mode of each part, does what the docs say."""

import asyncio
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from support.classes import load_class
from support.dag_callbacks import ownership
from support.invocation_trigger import needs_on_kill
from support.triggerer import Triggerer, task_instance as triggerers_task_instance

from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle import trigger as owning_trigger
from airflow_provider_kernel.operators import invocation as invoke
from airflow_provider_kernel.operators.browser import KernelBrowserTaskOperator
from airflow_provider_kernel.operators.end_invocation import KernelCompleteInvocationOperator
from airflow_provider_kernel.operators.invocation_task import KernelInvocationTaskOperator
from airflow_provider_kernel.sensors.invocation import KernelInvocationSensor
from airflow_provider_kernel.testing import Fault

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "_ext"))
from limit_outcomes import COLUMNS, OUTCOMES, Outcome

O = Outcome  # noqa: E741
CLASSES = {
    "invoke": invoke.KernelInvokeOperator,
    "sensor": KernelInvocationSensor,
    "answer": KernelInvocationTaskOperator,
    "request": KernelCompleteInvocationOperator,
    "browser": KernelBrowserTaskOperator,
}
#: What a task ended with: error, state of the task, whether the invocation was ended by it.
MEANINGS = {
    ("AirflowTaskTimeout", "up_for_retry", True): O.CANCELLED,
    ("AirflowTaskTimeout", "up_for_retry", False): O.LEFT,
    ("AirflowSensorTimeout", "failed", False): O.SENSOR_TIMEOUT,
    ("TaskDeferralTimeout", "up_for_retry", True): O.DEFERRAL_CANCELLED,
    ("KernelInvocationFailedError", "up_for_retry", False): O.KERNEL_RETRIED,
    ("AirflowFailException", "failed", False): O.KERNEL_FINAL,
}
BROWSER_MEANINGS = {("AirflowTaskTimeout", "up_for_retry"): O.BROWSER_ENDED}
SHORT, LONG = 0.5, 60
#: Emulated seconds in a real one, at which Kernel's shortest limit takes 0.6 s.
SCALE = 16.0

CELLS = [
    pytest.param(
        limit,
        column,
        outcome,
        id=f"{limit}-{column}",
        marks=[needs_on_kill] if (limit, column) == ("dagrun_timeout", "invoke_deferrable") else [],
    )
    for limit, row in OUTCOMES.items()
    for column, outcome in row.items()
    if isinstance(outcome, Outcome) and not (limit == "dagrun_timeout" and not column.endswith("deferrable"))
]


class Play:
    """Plays one limit in one mode of one part on a real task runner; nothing else ends the invocation."""

    def __init__(self, kernel, make_task, api, monkeypatch):
        self.kernel = kernel
        self.make_task = make_task
        self.api = api
        monkeypatch.setattr(invoke, "FIRST_POLL_SECONDS", 0.0)

    def task(self, column, **arguments):
        part, _, mode = column.partition("_")
        arguments["kernel_conn_id"] = "kernel_default"
        if part == "browser":
            return self.make_task(CLASSES[part], python_callable=self.use, **arguments)
        if mode == "deferrable":
            arguments["deferrable"] = True
        if part == "invoke":
            arguments.update(app_name="demo", action_name="hang", poll_interval=0.05, stream_logs=False)
        else:
            arguments["invocation_id"] = self.start(arguments.pop("async_timeout_seconds", None))
        if part == "sensor":
            arguments = {"poke_interval": 0.05, "timeout": LONG, **arguments}
            if mode == "reschedule":
                arguments["mode"] = mode
        if part == "answer":
            arguments["python_callable"] = self.work
        return self.make_task(CLASSES[part], **arguments)

    def start(self, seconds):
        with KernelHook() as hook:
            return hook.invoke("demo", "hang", async_timeout_seconds=seconds).id

    def work(self):
        """Take a second, or as long as Kernel lets the invocation live."""
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline and not self.kernel.invocations[0].finished:
            time.sleep(0.02)

    def use(self, browser):
        """Take a second."""
        time.sleep(1)

    def run(self, column, waited=0.0, **arguments):
        """
        Run the task to its end, over a deferral.

        :param waited: seconds between a rescheduled sensor's first poll and its second, by Airflow's records.
        """
        seconds = arguments.get("async_timeout_seconds")
        if seconds:
            self.kernel.time_scale = SCALE
        task = self.task(column, **arguments)
        if seconds and column == "request":
            self.kernel.wait_until(lambda: self.kernel.invocations[0].finished)
        result = task.run()
        if column.endswith("deferrable"):
            assert result.state == "deferred"
            result = task.go_on(result)
        while result.state == "up_for_reschedule":
            first = datetime.now(timezone.utc) - timedelta(seconds=waited)
            self.api.rescheduled_at = self.api.rescheduled_at or first
            result = task.run()
        return self.outcome(result)

    def outcome(self, result):
        if self.kernel.browsers:
            (browser,) = self.kernel.browsers
            assert browser.end_cause == "deleted"
            return BROWSER_MEANINGS[type(result.error).__name__, result.state]
        (invocation,) = self.kernel.invocations
        ended = bool(self.kernel.requests("PATCH")) and invocation.finished
        return MEANINGS[type(result.error).__name__, result.state, ended]

    # --- the limits ---------------------------------------------------------------------------------------------

    def timeout(self, column, **arguments):
        if not column.startswith("sensor"):
            with pytest.raises(TypeError, match="Invalid arguments"):
                self.task(column, timeout=SHORT)
            return O.REFUSED
        return self.run(column, timeout=SHORT, **arguments)

    def execution_timeout(self, column, seconds=SHORT, **arguments):
        if column == "sensor_reschedule" and seconds == SHORT:
            # It counts for each poll.
            self.kernel.add_fault(Fault("GET", "/invocations/*", delay=1.0))
        if column == "request":
            self.kernel.add_fault(Fault("GET", "/invocations/*", delay=1.0))
        return self.run(column, execution_timeout=timedelta(seconds=seconds), **arguments)

    def earlier_timeout(self, column):
        return self.execution_timeout(column, LONG, timeout=SHORT)

    def at_once(self, column):
        # A rescheduled poll has a process of its own, which may itself take as long as a short limit.
        seconds, waited = (LONG, LONG) if column == "sensor_reschedule" else (SHORT, 0.0)
        return self.run(column, waited, timeout=seconds, execution_timeout=timedelta(seconds=seconds))

    def async_timeout_seconds(self, column, **arguments):
        return self.run(column, async_timeout_seconds=10, **arguments)

    def earlier_async_timeout(self, column):
        return self.async_timeout_seconds(column, execution_timeout=timedelta(seconds=LONG))

    def deferral(self, column):
        task = self.task(column)
        assert task.run().state == "deferred"
        return self.outcome(task.resume("__fail__", error="Trigger timeout"))

    def dagrun_timeout(self, column, supervisor):
        """The scheduler sets the task to skipped, and then the triggerer cancels its trigger."""
        deferred = self.task(column).run()
        assert deferred.state == "deferred"
        (invocation,) = self.kernel.invocations

        async def cancel():
            ti = triggerers_task_instance()
            supervisor.states[ti.task_id] = "deferred"
            supervisor.xcoms[ti.task_id, ti.map_index, "kernel_invocation_owner"] = ownership(invocation.id)
            triggerer = Triggerer()
            polls = len(self.kernel.requests("GET", "/invocations/*"))
            running = await triggerer.start(load_class(deferred.msg.classpath)(**deferred.msg.trigger_kwargs), ti)
            await asyncio.to_thread(self.kernel.wait_for, "GET", "/invocations/*", polls + 1)
            supervisor.states[ti.task_id] = "skipped"
            await triggerer.kill(running)
            while owning_trigger._ends:
                await asyncio.wait(owning_trigger._ends)
            assert triggerer.events == []

        asyncio.run(cancel())
        return O.KILLED if self.kernel.invocation(invocation.id).finished else O.KILLED_ALONE


PLAYS = {
    "timeout": Play.timeout,
    "execution_timeout": Play.execution_timeout,
    "timeout before execution_timeout": Play.earlier_timeout,
    "execution_timeout before timeout": Play.execution_timeout,
    "timeout and execution_timeout at once": Play.at_once,
    "async_timeout_seconds": Play.async_timeout_seconds,
    "async_timeout_seconds before execution_timeout": Play.earlier_async_timeout,
    "timeout of Airflow's defer()": Play.deferral,
    "dagrun_timeout": Play.dagrun_timeout,
}


@pytest.mark.parametrize(("limit", "column", "outcome"), CELLS)
def test_limit_does_what_the_docs_say(
    limit, column, outcome, kernel_emulator, make_task, execution_api, monkeypatch, request
):
    play = Play(kernel_emulator, make_task, execution_api, monkeypatch)
    more = [request.getfixturevalue("supervisor")] if limit == "dagrun_timeout" else []
    assert PLAYS[limit](play, column, *more) is outcome


def test_table_has_every_mode_for_every_limit():
    assert set(PLAYS) == set(OUTCOMES)
    assert all(list(row) == list(COLUMNS) for row in OUTCOMES.values())
