"""KernelInvokeOperator with ``deferrable=True``: what happens on the worker, before and after the triggerer."""

import asyncio
import json
import re
import time
from datetime import datetime, timedelta, timezone
from itertools import repeat

import pytest
from support.classes import load_class
from support.exceptions import TaskDeferralError, TaskDeferralTimeout

from airflow_provider_kernel._compat import AirflowTaskTimeout
from airflow_provider_kernel.client.errors import (
    KernelLostContactError,
    KernelTaskKilledError,
)
from airflow_provider_kernel.client.resources.invocations import wait
from airflow_provider_kernel.client.resources.invocations.errors import (
    KernelInvocationFailedError,
    KernelInvocationTimeoutError,
)
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle.owning_try import OwningTry
from airflow_provider_kernel.operators._limits import backstop, first_limit
from airflow_provider_kernel.operators.invocation import KernelInvokeOperator
from airflow_provider_kernel.owned import invocation as owned_invocation
from airflow_provider_kernel.testing import Fault

BROWSERS = {
    "app_name": "demo",
    "action_name": "browsers",
    "payload": {"count": 1, "seconds": 600},
    "poll_interval": 0.01,
    "deferrable": True,
}


@pytest.fixture(autouse=True)
def short_first_poll(monkeypatch):
    monkeypatch.setattr("airflow_provider_kernel.operators.invocation.FIRST_POLL_SECONDS", 0.02)


@pytest.fixture
def deferred(make_task, kernel_emulator):
    """A task that is deferred on an invocation with a browser."""
    task = make_task(KernelInvokeOperator, **BROWSERS)
    task.deferred = task.run()
    assert task.deferred.state == "deferred"
    (invocation,) = kernel_emulator.invocations
    kernel_emulator.wait_until(lambda: kernel_emulator.invocation(invocation.id).browsers == 1)
    task.invocation_id = invocation.id
    return task


def assert_cancelled(kernel):
    (invocation,) = kernel.invocations
    assert invocation.status == "failed"
    assert invocation.browsers == 0


def assert_goes_on(kernel):
    assert kernel.requests("PATCH") == ()
    assert kernel.requests("DELETE") == ()
    assert [invocation.status for invocation in kernel.invocations] == ["running"]


class TestBeforeTheDeferral:
    def test_deferrable_task_starts_its_invocation_on_the_worker_and_publishes_the_id(
        self, deferred, execution_api, kernel_emulator
    ):
        assert execution_api.xcoms["invocation_id"] == deferred.invocation_id
        assert len(kernel_emulator.requests("POST")) == 1
        assert_goes_on(kernel_emulator)

    def test_deferrable_task_polls_once_before_it_defers(self, make_task, kernel_emulator, monkeypatch):
        monkeypatch.setattr("airflow_provider_kernel.operators.invocation.FIRST_POLL_SECONDS", 0.2)
        assert make_task(KernelInvokeOperator, **BROWSERS).run().state == "deferred"
        (created,) = kernel_emulator.requests("POST")
        (poll,) = kernel_emulator.requests("GET")
        assert poll.received_at - created.received_at >= 0.15  # from just before the create

    def test_short_invocation_is_not_deferred(self, run, execution_api, monkeypatch):
        monkeypatch.setattr("airflow_provider_kernel.operators.invocation.FIRST_POLL_SECONDS", 1)
        result = run(
            KernelInvokeOperator,
            app_name="demo",
            action_name="echo",
            payload=1,
            deferrable=True,
            poll_interval=0.01,
        )
        assert result.state == "success"
        assert execution_api.xcoms["return_value"] == 1

    def test_trigger_row_holds_no_key_and_no_payload(self, make_task, kernel_emulator):
        task = make_task(KernelInvokeOperator, **{**BROWSERS, "payload": {"count": 1, "seconds": 600.25}})
        row = json.dumps(task.run().msg.model_dump(mode="json"))
        assert kernel_emulator.api_key not in row
        assert "600.25" not in row
        assert set(task.run().msg.trigger_kwargs) == {
            "invocation_id",
            "kernel_conn_id",
            "poll_interval",
            "deadline",
            "cancel_on_kill",
            "stream_logs",
            "max_log_lines",
            "is_new",
            "was_seen",
            "live_view_link",
            "poll_delays",
            "deferred_at",
            "limit",
            "was_deferred",
            "max_carried_bytes",
        }

    def test_deferral_has_no_timeout_of_airflow(self, deferred):
        assert deferred.deferred.msg.trigger_timeout is None

    def test_deadline_of_the_trigger_counts_from_the_start_of_the_task(self, make_task):
        task = make_task(KernelInvokeOperator, execution_timeout=timedelta(minutes=10), **BROWSERS)
        before = time.time()
        deadline = task.run().msg.trigger_kwargs["deadline"]
        assert before + 599 <= deadline <= time.time() + 600

    def test_deadline_of_the_trigger_without_an_execution_timeout_is_kernels_limit(self, deferred):
        expected = time.time() + 900 + 300
        assert expected - 60 <= deferred.deferred.msg.trigger_kwargs["deadline"] <= expected

    @pytest.mark.parametrize("state", ["failed", "success", "restarting", "removed", None])
    def test_task_marked_or_cleared_before_it_defers_cancels(self, state, run, kernel_emulator, execution_api):
        execution_api.task_state = state
        result = run(KernelInvokeOperator, **BROWSERS)
        assert isinstance(result.error, KernelTaskKilledError)
        assert (state or "gone") in str(result.error)
        assert_cancelled(kernel_emulator)

    def test_task_whose_state_cannot_be_fetched_before_it_defers_cancels(self, run, kernel_emulator, execution_api):
        def refuse(method, path):
            if path.endswith("/states"):
                raise ConnectionError("the API server is gone")

        execution_api.hold = refuse
        result = run(KernelInvokeOperator, **BROWSERS)
        assert result.state == "up_for_retry"
        assert_cancelled(kernel_emulator)

    def test_kill_in_the_polls_before_the_deferral_cancels(self, make_task, kernel_emulator):
        class KilledInTheFirstPolls(KernelInvokeOperator):
            def show_dashboard(self, *arguments, **options):
                self.on_kill()  # the last step before the polls
                return super().show_dashboard(*arguments, **options)

        result = make_task(KilledInTheFirstPolls, **BROWSERS).run()
        assert isinstance(result.error, KernelTaskKilledError)
        assert_cancelled(kernel_emulator)

    def test_mapped_task_fetches_its_own_state_before_it_defers(self, make_task, kernel_emulator, execution_api):
        asked = []
        execution_api.hold = lambda method, path: asked.append(path)
        result = make_task(KernelInvokeOperator, map_index=3, **BROWSERS).run()
        assert result.state == "deferred"
        assert "/task-instances/states" in asked


class TestAfterTheDeferral:
    def test_resumed_task_returns_the_output(self, deferred, execution_api, kernel_emulator):
        kernel_emulator.finish(deferred.invocation_id, output={"a": 1})
        event = deferred.trigger_event(deferred.deferred)
        assert event.items() >= {"invocation_id": deferred.invocation_id, "status": "finished"}.items()
        assert deferred.resume("execute_complete", event=event).state == "success"
        assert execution_api.xcoms["return_value"] == {"a": 1}
        assert kernel_emulator.requests("PATCH") == ()
        assert kernel_emulator.requests("DELETE") == ()

    def test_resumed_task_needs_neither_kernel_nor_the_connection_for_a_result_that_the_event_carries(
        self, deferred, execution_api, kernel_emulator, monkeypatch
    ):
        kernel_emulator.finish(deferred.invocation_id, output={"a": 1})
        event = deferred.trigger_event(deferred.deferred)
        monkeypatch.setattr("airflow_provider_kernel.hooks.kernel.KernelHook.get_connection", None)
        before = len(kernel_emulator.requests())
        assert deferred.resume("execute_complete", event=event).state == "success"
        assert execution_api.xcoms["return_value"] == {"a": 1}
        assert len(kernel_emulator.requests()) == before

    @pytest.mark.parametrize("max_output_bytes", [4_500_000, 20_000])
    def test_resumed_task_fetches_a_result_that_is_too_large_for_the_event(
        self, max_output_bytes, make_task, execution_api, kernel_emulator
    ):
        task = make_task(KernelInvokeOperator, **BROWSERS, max_output_bytes=max_output_bytes)
        result = task.run()
        kernel_emulator.finish(kernel_emulator.invocations[0].id, output="x" * 30_000)
        event = task.trigger_event(result)
        assert "invocation" not in event
        state = task.resume("execute_complete", event=event).state
        assert state == ("success" if max_output_bytes > 30_000 else "failed")

    def test_result_in_the_event_is_not_logged(self, deferred, kernel_emulator):
        kernel_emulator.finish(deferred.invocation_id, output={"a": "secret text"})
        trigger = load_class(deferred.deferred.msg.classpath)(**deferred.deferred.msg.trigger_kwargs)

        async def fire():
            return [event async for event in trigger.run()]

        (event,) = asyncio.run(fire())
        assert "secret text" in event.payload["invocation"]["output"]
        assert "secret text" not in f"{event} {event!r} {[event]}"
        assert "finished" in repr(event)

    def test_task_that_is_killed_while_it_resumes_with_a_result_ends_nothing(
        self, deferred, kernel_emulator, monkeypatch
    ):
        kernel_emulator.finish(deferred.invocation_id, output={"a": 1})
        event = deferred.trigger_event(deferred.deferred)
        read = KernelInvokeOperator._carried_by

        def killed_meanwhile(self, event):
            self.on_kill()
            return read(self, event)

        monkeypatch.setattr(KernelInvokeOperator, "_carried_by", killed_meanwhile)
        result = deferred.resume("execute_complete", event=event)
        assert result.state != "success"
        assert isinstance(result.error, KernelTaskKilledError)
        assert kernel_emulator.requests("PATCH") == ()

    def test_event_carries_no_result_of_a_failed_invocation(self, deferred, kernel_emulator):
        kernel_emulator.finish(deferred.invocation_id, "failed", {"error": "no"})
        assert "invocation" not in deferred.trigger_event(deferred.deferred)

    def test_output_that_repeats_the_key_is_not_in_the_event(self, deferred, execution_api, kernel_emulator):
        kernel_emulator.finish(deferred.invocation_id, output={"header": f"Bearer {kernel_emulator.api_key}"})
        event = deferred.trigger_event(deferred.deferred)
        assert kernel_emulator.api_key not in json.dumps(event)
        assert deferred.resume("execute_complete", event=event).state == "success"

    def test_carried_output_that_cannot_be_handed_on_closes_the_record(
        self, make_task, execution_api, kernel_emulator
    ):
        task = make_task(KernelInvokeOperator, **BROWSERS)
        result = task.run()
        kernel_emulator.finish(kernel_emulator.invocations[0].id, output={"__classname__": "x"})
        event = task.trigger_event(result)
        assert "invocation" in event
        assert task.resume("execute_complete", event=event).state == "failed"
        if "kernel_invocation" in execution_api.store:  # Airflow 3.3
            assert execution_api.store["kernel_invocation"]["is_closed"]

    def test_resumed_task_fails_with_its_invocation_and_keeps_its_retries(self, deferred, kernel_emulator):
        kernel_emulator.finish(deferred.invocation_id, "failed", {"error": "no"})
        result = deferred.resume("execute_complete", event=deferred.trigger_event(deferred.deferred))
        assert result.state == "up_for_retry"
        assert isinstance(result.error, KernelInvocationFailedError)
        assert kernel_emulator.requests("PATCH") == ()

    def test_resumed_task_past_its_deadline_cancels(self, deferred, kernel_emulator):
        deferred.deferred.msg.trigger_kwargs["deadline"] = time.time() - 1
        event = deferred.trigger_event(deferred.deferred)
        assert (event["status"], event["ended"]) == ("timeout", True)
        result = deferred.resume("execute_complete", event=event)
        assert result.state == "up_for_retry"
        assert isinstance(result.error, KernelInvocationTimeoutError)
        assert_cancelled(kernel_emulator)

    def test_resumed_task_past_its_deadline_takes_the_result_of_an_invocation_that_has_ended(
        self, deferred, execution_api, kernel_emulator
    ):
        kernel_emulator.finish(deferred.invocation_id, output="just in time")
        event = {"invocation_id": deferred.invocation_id, "status": "timeout"}
        assert deferred.resume("execute_complete", event=event).state == "success"
        assert execution_api.xcoms["return_value"] == "just in time"

    def test_resumed_task_whose_invocation_the_trigger_has_ended_has_timed_out(self, deferred, kernel_emulator):
        kernel_emulator.finish(deferred.invocation_id, "failed", {"error": "cancelled"})
        event = {"invocation_id": deferred.invocation_id, "status": "timeout", "ended": True}
        result = deferred.resume("execute_complete", event=event)
        assert result.state == "up_for_retry"
        assert isinstance(result.error, KernelInvocationTimeoutError)
        assert kernel_emulator.requests("PATCH") == ()

    def test_resumed_task_takes_the_result_of_an_invocation_that_succeeded_before_the_trigger_could_end_it(
        self, deferred, execution_api, kernel_emulator
    ):
        kernel_emulator.finish(deferred.invocation_id, output="just in time")
        event = {"invocation_id": deferred.invocation_id, "status": "timeout", "ended": True}
        assert deferred.resume("execute_complete", event=event).state == "success"
        assert execution_api.xcoms["return_value"] == "just in time"

    def test_resumed_task_past_its_deadline_fails_with_an_invocation_that_failed_by_itself(
        self, deferred, kernel_emulator
    ):
        kernel_emulator.finish(deferred.invocation_id, "failed", {"error": "no"})
        event = {"invocation_id": deferred.invocation_id, "status": "timeout"}
        result = deferred.resume("execute_complete", event=event)
        assert isinstance(result.error, KernelInvocationFailedError)

    @pytest.mark.parametrize("method", ["execute_complete", "__fail__"])
    def test_end_by_a_resumed_task_outlasts_a_short_outage(
        self, method, deferred, kernel_emulator, execution_api, monkeypatch
    ):
        connection = {**json.loads(kernel_emulator.airflow_connection), "extra": {"max_attempts": 1}}
        monkeypatch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", json.dumps(connection))
        monkeypatch.setattr("airflow_provider_kernel.lifecycle.owner.WORKER_END_SECONDS", 30)
        execution_api.max_tries = 0
        kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", nth=(1, 2, 3), status=500))
        deferred.resume(method, **({"error": "Trigger failure"} if method == "__fail__" else {"event": {}}))
        assert_cancelled(kernel_emulator)
        assert len(kernel_emulator.requests("PATCH")) == 4

    def test_kill_of_a_resumed_task_cancels_at_once(self, deferred, kernel_emulator, monkeypatch):
        states = []

        def kill(operator, seconds):
            operator.on_kill()
            states.extend(invocation.status for invocation in kernel_emulator.invocations)
            operator._run.sleep(seconds)

        monkeypatch.setattr(KernelInvokeOperator, "sleep", kill)
        kernel_emulator.add_fault(Fault("GET", "/invocations/*", status=500))
        event = {"invocation_id": deferred.invocation_id, "status": "finished"}
        result = deferred.resume("execute_complete", event=event)
        assert isinstance(result.error, KernelTaskKilledError)
        assert states == ["failed"]
        assert_cancelled(kernel_emulator)

    def test_resumed_task_that_is_killed_is_no_success(self, deferred, kernel_emulator, monkeypatch):
        kernel_emulator.finish(deferred.invocation_id, output=1)
        resume = OwningTry.resume

        def resume_and_kill(owned, external_id):
            resume(owned, external_id)
            owned.kill()

        monkeypatch.setattr(OwningTry, "resume", resume_and_kill)
        event = {"invocation_id": deferred.invocation_id, "status": "finished"}
        result = deferred.resume("execute_complete", event=event)
        assert result.state == "up_for_retry"
        assert isinstance(result.error, KernelTaskKilledError)

    @pytest.mark.needs_airflow("3.3", "before, no try knows of another")
    def test_lost_contact_of_the_trigger_leaves_the_invocation_to_the_next_try(self, deferred, kernel_emulator):
        event = {"invocation_id": deferred.invocation_id, "status": "error", "error": "KernelServerError: 500"}
        result = deferred.resume("execute_complete", event=event)
        assert result.state == "up_for_retry"
        assert isinstance(result.error, KernelLostContactError)
        assert_goes_on(kernel_emulator)

    def test_lost_contact_of_the_trigger_in_the_last_try_cancels_and_logs_it(
        self, deferred, kernel_emulator, execution_api
    ):
        execution_api.max_tries = 0
        event = {"invocation_id": deferred.invocation_id, "status": "error", "error": "KernelServerError: 500"}
        result = deferred.resume("execute_complete", event=event)
        assert result.state == "failed"
        assert isinstance(result.error, KernelLostContactError)
        assert "KernelServerError: 500" in str(result.error)
        assert_cancelled(kernel_emulator)

    def test_lost_contact_of_the_trigger_with_an_invocation_that_succeeded_is_a_success(
        self, deferred, execution_api, kernel_emulator
    ):
        kernel_emulator.finish(deferred.invocation_id, output=1)
        event = {"invocation_id": deferred.invocation_id, "status": "error", "error": "..."}
        assert deferred.resume("execute_complete", event=event).state == "success"
        assert execution_api.xcoms["return_value"] == 1

    @pytest.mark.parametrize("event", [None, {}, {"status": "what?"}])
    def test_malformed_event_is_no_success(self, event, deferred, kernel_emulator, execution_api):
        execution_api.max_tries = 0
        result = deferred.resume("execute_complete", event=event)
        assert isinstance(result.error, KernelLostContactError)
        assert_cancelled(kernel_emulator)

    @pytest.mark.parametrize("more", [{}, {"invocation_id": None}])
    def test_event_before_the_end_of_the_invocation_is_waited_for(
        self, more, deferred, kernel_emulator, execution_api, monkeypatch
    ):
        """The list may report an end that a GET shows only much later."""
        path = f"/invocations/{deferred.invocation_id}"
        stale = {"id": deferred.invocation_id, "status": "running"}
        before = len(kernel_emulator.requests("GET", path))
        kernel_emulator.finish(deferred.invocation_id, output=1)
        kernel_emulator.add_fault(Fault("GET", path, nth=range(1, 31), body=stale))
        monkeypatch.setattr(wait, "poll_delays", lambda interval: repeat(0.0))
        event = {"invocation_id": deferred.invocation_id, "status": "finished", **more}
        assert deferred.resume("execute_complete", event=event).state == "success"
        assert execution_api.xcoms["return_value"] == 1
        assert len(kernel_emulator.requests("GET", path)) == before + 31

    def test_event_without_an_end_of_the_invocation_is_no_success(
        self, deferred, kernel_emulator, execution_api, monkeypatch
    ):
        monkeypatch.setattr(owned_invocation, "LONGEST_LIFE_SECONDS", 0.0)
        execution_api.max_tries = 0
        event = {"invocation_id": deferred.invocation_id, "status": "finished"}
        result = deferred.resume("execute_complete", event=event)
        assert isinstance(result.error, KernelInvocationTimeoutError)
        assert_cancelled(kernel_emulator)

    @pytest.mark.usefixtures("refused_key_ends_waits_soon")
    @pytest.mark.parametrize("max_tries", [0, 1])
    @pytest.mark.needs_airflow("3.3", "before, no try knows of another")
    def test_key_revoked_during_the_deferral_fails_the_task_and_ends_nothing(
        self, deferred, kernel_emulator, execution_api, monkeypatch, max_tries
    ):
        execution_api.max_tries = max_tries
        connection = {**json.loads(kernel_emulator.airflow_connection), "password": "sk-revoked"}
        monkeypatch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", json.dumps(connection))
        event = deferred.trigger_event(deferred.deferred)
        assert event["status"] == "error"
        monkeypatch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", kernel_emulator.airflow_connection)  # renewed just now
        result = deferred.resume("execute_complete", event=event)
        assert result.state == ("up_for_retry" if max_tries else "failed")
        assert isinstance(result.error, KernelLostContactError)
        assert_goes_on(kernel_emulator)

    def test_execution_timeout_after_the_deferral_cancels(self, make_task, kernel_emulator):
        """It comes while the task fetches an invocation with which the trigger has lost contact."""
        task = make_task(KernelInvokeOperator, execution_timeout=timedelta(seconds=1), **BROWSERS)
        assert task.run().state == "deferred"
        kernel_emulator.add_fault(Fault("GET", "/invocations/*", delay=5))
        result = task.resume("execute_complete", event={"status": "error"})
        assert type(result.error).__name__ == "AirflowTaskTimeout"
        assert_cancelled(kernel_emulator)

    @pytest.mark.parametrize(
        ("error", "exception"),
        [("Trigger timeout", TaskDeferralTimeout), ("Trigger failure", TaskDeferralError)],
        ids=["the deferral timed out", "the trigger crashed"],
    )
    def test_deferral_ended_by_airflow_cancels(self, error, exception, deferred, kernel_emulator):
        result = deferred.resume("__fail__", error=error)
        assert result.state == "up_for_retry"
        assert isinstance(result.error, exception)
        assert_cancelled(kernel_emulator)

    def test_failed_cancel_does_not_hide_why_the_deferral_ended(self, deferred, kernel_emulator):
        kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", nth=None, status=400))
        result = deferred.resume("__fail__", error="Trigger failure")
        assert isinstance(result.error, TaskDeferralError)

    def test_deferral_ended_by_airflow_leaves_the_invocation_without_cancel_on_kill(
        self, make_task, kernel_emulator
    ):
        task = make_task(KernelInvokeOperator, cancel_on_kill=False, **BROWSERS)
        assert task.run().state == "deferred"
        task.resume("__fail__", error="Trigger failure")
        assert_goes_on(kernel_emulator)


def test_deferrable_defaults_to_airflows_configuration():
    assert KernelInvokeOperator(task_id="t", app_name="a", action_name="b").deferrable is False


def test_execution_timeout_counts_from_the_start_of_the_task():
    """Airflow keeps a task's first start over its deferrals."""
    started = datetime.now(timezone.utc) - timedelta(minutes=9)
    limit = first_limit(backstop(900, None), started, timedelta(minutes=10))
    assert limit == ("execution_timeout", started.timestamp() + 600)


def test_execution_timeout_ends_a_deferral_as_itself_although_the_dag_was_changed(make_task, kernel_emulator):
    task = make_task(KernelInvokeOperator, execution_timeout=timedelta(seconds=2), **BROWSERS)
    event = task.trigger_event(task.run())
    assert event["limit"] == "execution_timeout"
    task.task.execution_timeout = None
    result = task.resume("execute_complete", event=event)
    assert result.state == "up_for_retry"
    assert isinstance(result.error, AirflowTaskTimeout)
    assert_cancelled(kernel_emulator)


def test_operator_of_a_user_may_override_what_goes_on_after_the_deferral(make_task, kernel_emulator):
    class Own(KernelInvokeOperator):
        def execute_complete(self, context, event=None):
            return [super().execute_complete(context, event)]

    task = make_task(Own, **BROWSERS)
    deferred = task.run()
    kernel_emulator.finish(kernel_emulator.invocations[0].id, output=1)
    event = task.trigger_event(deferred)
    assert task.resume("execute_complete", event=event, **deferred.msg.next_kwargs).state == "success"


def test_execution_timeout_of_0_is_none_as_it_is_for_airflow(make_task):
    trigger = make_task(KernelInvokeOperator, execution_timeout=timedelta(0), **BROWSERS).run().msg.trigger_kwargs
    assert trigger["deadline"] > time.time() + 900


@pytest.mark.parametrize(
    ("limit", "words"), [("execution_timeout", "within 7 s (execution_timeout)"), (None, "the time of its task")]
)
def test_error_says_which_limit_has_passed_and_how_long_it_was(limit, words, kernel_connection):
    started = datetime.now(timezone.utc)
    with KernelHook() as hook:
        invocation_id = hook.invoke("demo", "hang").id
        event = {"invocation_id": invocation_id, "status": "timeout", "ended": False, "limit": limit}
        event["deadline"] = started.timestamp() + 7
        with pytest.raises(KernelInvocationTimeoutError, match=re.escape(words)):
            owned_invocation.fetch_after_deferral(hook, event, invocation_id, started)
