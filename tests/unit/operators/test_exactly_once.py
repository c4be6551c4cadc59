"""Started exactly once: lost answers, crashes told from clears, siblings that ask for the same."""

import json

import pytest

from airflow_provider_kernel.client.errors import (
    KernelAmbiguousStartError,
    KernelTaskKilledError,
)
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationFailedError
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle.ledger import Ledger
from airflow_provider_kernel.lifecycle.owner import Owner
from airflow_provider_kernel.lifecycle.resource import EndReason
from airflow_provider_kernel.operators.invocation import KernelInvokeOperator
from airflow_provider_kernel.testing import Fault

#: Why a test is only of these versions.
REMEMBERS = "before, no try knows of another"

HANG = {
    "app_name": "demo",
    "action_name": "hang",
    "payload": {"tickets": 2},
    "poll_interval": 0.01,
    "stream_logs": False,
}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr("airflow_provider_kernel.owned.invocation.OwnedInvocation.listing_lag_seconds", 0.0)
    monkeypatch.setattr("airflow_provider_kernel.operators.invocation.FIRST_POLL_SECONDS", 0.0)


class Crash(BaseException):
    """The process is gone: nothing behind this point runs."""


@pytest.fixture
def crash(make_task, kernel_emulator, monkeypatch):
    """Run a try that crashes while it waits, so that its invocation goes on and its ledger says so."""

    def crash(**arguments):
        task = make_task(KernelInvokeOperator, **{**HANG, **arguments})
        with monkeypatch.context() as patch:
            patch.setattr(KernelHook, "wait_for_invocation", _die)
            # What a crash leaves undone.
            patch.setattr(Owner, "end", lambda owner, reason: True)
            patch.setattr(Ledger, "close", lambda ledger, *_, **__: None)
            task.run()
        assert kernel_emulator.requests("PATCH") == ()
        return task

    return crash


def _die(*_, **__):
    raise Crash


def active(kernel):
    return [invocation.id for invocation in kernel.invocations if not invocation.finished]


class TestALostAnswer:
    """The request went out and no usable answer came back."""

    @pytest.mark.parametrize(
        "fault",
        [
            {"drop": "after"},
            {"drop": "before"},
            {"status": 500},
            {"status": 502, "processed": True},
            {"status": 200, "body": "<html>", "processed": True},
            {"truncate": True},
            {
                "body": {"id": "other", "action_name": "other", "status": "succeeded", "output": '"not mine"'},
                "processed": True,
            },
        ],
        ids=str,
    )
    def test_invocation_whose_start_lost_its_answer_is_searched_and_not_started_twice(
        self, fault, run, kernel_emulator, execution_api
    ):
        kernel_emulator.add_fault(Fault("POST", "/invocations", **fault))
        result = run(KernelInvokeOperator, app_name="demo", action_name="echo", payload=1, poll_interval=0.01)
        assert result.state == "success"
        assert execution_api.xcoms["return_value"] == 1
        assert len(kernel_emulator.invocations) == 1

    def test_lost_start_that_cannot_be_looked_up_is_not_started_again_by_a_try_that_knows_nothing(
        self, run, kernel_emulator
    ):
        kernel_emulator.add_fault(Fault("POST", "/invocations", drop="after"))
        kernel_emulator.add_fault(Fault("GET", "/invocations", None, body="<html>"))
        result = run(KernelInvokeOperator, **HANG, durable=False, max_tries=1)
        assert result.state == "failed"
        assert isinstance(result.error.kernel_error, KernelAmbiguousStartError)
        assert len(kernel_emulator.invocations) == 1

    def test_lost_start_of_an_app_whose_name_contains_the_key_is_found(self, run, kernel_emulator, execution_api):
        app = f"{kernel_emulator.api_key}-shop"
        kernel_emulator.register(app, "echo", lambda ctx, payload: payload)
        kernel_emulator.add_fault(Fault("POST", "/invocations", drop="after"))
        result = run(KernelInvokeOperator, app_name=app, action_name="echo", payload=1, poll_interval=0.01)
        assert result.state == "success"
        assert execution_api.xcoms["return_value"] == 1
        assert len(kernel_emulator.invocations) == 1

    def test_search_for_a_lost_start_leaves_an_invocation_with_another_payload(
        self, run, kernel_emulator, execution_api
    ):
        with KernelHook() as hook:
            hook.invoke("demo", "echo", 2)
        kernel_emulator.add_fault(Fault("POST", "/invocations", nth=2, drop="before"))
        run(KernelInvokeOperator, app_name="demo", action_name="echo", payload=1, poll_interval=0.01)
        assert execution_api.xcoms["return_value"] == 1
        assert len(kernel_emulator.invocations) == 2

    def test_kill_during_the_search_for_a_lost_start_cancels_what_it_started(
        self, make_task, kernel_emulator, monkeypatch
    ):
        monkeypatch.setattr("airflow_provider_kernel.owned.invocation.OwnedInvocation.listing_lag_seconds", 60.0)

        class KilledWhileSearching(KernelInvokeOperator):
            def sleep(self, seconds):
                self.on_kill()
                super().sleep(seconds)

        kernel_emulator.add_fault(Fault("POST", "/invocations", drop="after"))
        kernel_emulator.add_fault(Fault("GET", "/invocations", body=[]))
        result = make_task(KilledWhileSearching, **HANG).run()
        assert isinstance(result.error, KernelTaskKilledError)
        assert active(kernel_emulator) == []
        assert len(kernel_emulator.invocations) == 1


@pytest.mark.needs_airflow("3.3", REMEMBERS)
class TestAfterACrash:
    @pytest.mark.parametrize("deferrable", [False, True], ids=["blocking", "deferrable"])
    def test_try_after_a_crash_reconnects_to_the_running_invocation(
        self, deferrable, crash, kernel_emulator, execution_api
    ):
        task = crash(deferrable=deferrable)
        (invocation,) = kernel_emulator.invocations
        again = task.next_try()
        if deferrable:
            result = again.run()
            assert result.state == "deferred"
            assert result.msg.trigger_kwargs["invocation_id"] == invocation.id
            kernel_emulator.finish(invocation.id, output="done")
            result = again.resume("execute_complete", event=again.trigger_event(result))
        else:
            execution_api.hold = lambda method, path: (
                kernel_emulator.finish(invocation.id, output="done") if path.endswith("/invocation_id") else None
            )
            result = again.run()
        assert result.state == "success"
        assert execution_api.xcoms["return_value"] == "done"
        assert execution_api.xcoms["invocation_id"] == invocation.id
        assert len(kernel_emulator.invocations) == 1

    def test_try_after_a_crash_returns_the_output_of_an_invocation_that_has_succeeded(
        self, crash, kernel_emulator, execution_api
    ):
        task = crash()
        kernel_emulator.finish(kernel_emulator.invocations[0].id, output=1)
        assert task.next_try().run().state == "success"
        assert execution_api.xcoms["return_value"] == 1
        assert len(kernel_emulator.invocations) == 1

    def test_try_after_a_crash_starts_anew_when_the_invocation_has_failed(self, crash, kernel_emulator):
        task = crash(deferrable=True)
        kernel_emulator.finish(kernel_emulator.invocations[0].id, "failed")
        assert task.next_try().run().state == "deferred"
        assert len(kernel_emulator.invocations) == 2
        assert len(active(kernel_emulator)) == 1

    def test_try_after_a_crash_starts_anew_when_the_invocation_is_gone(self, crash, kernel_emulator, execution_api):
        task = crash(deferrable=True)
        kernel_emulator.finish(kernel_emulator.invocations[0].id)
        execution_api.store["kernel_invocation"]["external_id"] = "gone"
        assert task.next_try().run().state == "deferred"
        assert len(active(kernel_emulator)) == 1

    def test_try_after_a_crash_ends_an_invocation_with_another_payload_and_starts_anew(
        self, crash, kernel_emulator
    ):
        task = crash(deferrable=True)
        (old,) = kernel_emulator.invocations
        again = task.next_try()
        again.task.payload = {"tickets": 3}
        assert again.run().state == "deferred"
        assert kernel_emulator.invocation(old.id).status == "failed"
        assert kernel_emulator.most_active_at_once() == 1

    def test_log_of_a_reconnect_tells_of_no_start(self, crash, capfd, caplog):
        task = crash(deferrable=True)
        capfd.readouterr()
        assert task.next_try().run().state == "deferred"
        assert caplog.text.count("Reconnecting to invocation") == 1
        log = capfd.readouterr().out + caplog.text
        assert "Invoking" not in log
        assert "was accepted" not in log

    def test_try_after_two_crashes_reconnects(self, crash, kernel_emulator):
        task = crash()
        kernel_emulator.finish(kernel_emulator.invocations[0].id, output=1)
        third = task.next_try().next_try()
        assert third.run().state == "success"
        assert len(kernel_emulator.invocations) == 1

    def test_record_of_another_version_starts_nothing_beside_the_invocation_it_names(
        self, crash, kernel_emulator, execution_api
    ):
        task = crash(deferrable=True)
        (first,) = kernel_emulator.invocations
        execution_api.store["kernel_invocation"] = {"version": 2, "external_id": first.id, "renamed": 1}
        assert task.next_try().run().state == "deferred"
        assert kernel_emulator.most_active_at_once() == 1
        assert len(active(kernel_emulator)) == 1

    @pytest.mark.parametrize(
        "record", ["text", 7, ["id"], {"something": "else"}, {"version": 2, "external_id": None}], ids=repr
    )
    def test_unreadable_record_without_an_id_starts_nothing(self, record, crash, kernel_emulator, execution_api):
        task = crash(deferrable=True)
        execution_api.store["kernel_invocation"] = record
        result = task.next_try().run()
        assert result.state == "failed"
        assert isinstance(result.error.kernel_error, KernelAmbiguousStartError)
        assert len(kernel_emulator.requests("POST", "/invocations")) == 1

    @pytest.mark.parametrize("external_id", ["", "../x", "x" * 100_000], ids=lambda text: text[:4])
    @pytest.mark.parametrize("change", [{}, {"is_closed": True}, {"version": 2}], ids=repr)
    def test_record_with_what_cannot_be_an_id_says_how_to_go_on(
        self, external_id, change, crash, kernel_emulator, execution_api
    ):
        task = crash(deferrable=True)
        execution_api.store["kernel_invocation"] |= {**change, "external_id": external_id}
        result = task.next_try().run()
        assert isinstance(result.error.kernel_error, KernelAmbiguousStartError)
        assert "durable=False starts another one" in str(result.error)
        assert len(kernel_emulator.requests("POST", "/invocations")) == 1

    def test_record_of_another_version_ends_what_still_runs_before_a_new_start(
        self, crash, kernel_emulator, execution_api
    ):
        task = crash(deferrable=True)
        (old,) = kernel_emulator.invocations
        execution_api.store["kernel_invocation"] |= {"version": 2}
        assert task.next_try().run().state == "deferred"
        assert kernel_emulator.invocation(old.id).status == "failed"
        assert kernel_emulator.most_active_at_once() == 1
        assert len(active(kernel_emulator)) == 1

    def test_record_of_another_version_of_one_that_is_over_starts_a_new_one(
        self, crash, kernel_emulator, execution_api
    ):
        task = crash(deferrable=True)
        kernel_emulator.finish(kernel_emulator.invocations[0].id)
        execution_api.store["kernel_invocation"] |= {"version": 2}
        assert task.next_try().run().state == "deferred"
        assert len(active(kernel_emulator)) == 1

    def test_record_of_another_version_of_one_that_outlives_the_task_starts_none_beside(
        self, crash, kernel_emulator, execution_api
    ):
        task = crash(cancel_on_kill=False)
        (old,) = kernel_emulator.invocations
        execution_api.store["kernel_invocation"] |= {"version": 2}
        result = task.next_try().run()
        assert isinstance(result.error.kernel_error, KernelAmbiguousStartError)
        assert old.id in str(result.error)
        assert active(kernel_emulator) == [old.id]


class TestAfterAClear:
    @pytest.mark.needs_airflow("3.3", REMEMBERS)
    @pytest.mark.parametrize(
        "clear",
        # The second raises no number of tries, and the killed process has closed no record.
        [{"cleared": True}, {"cleared_while_running": True}],
        ids=["not running", "running, and its end failed"],
    )
    def test_try_after_a_clear_cancels_the_running_invocation_and_starts_anew(self, clear, crash, kernel_emulator):
        task = crash()
        (old,) = kernel_emulator.invocations
        again = task.next_try(**clear)
        again.task.deferrable = True
        assert again.run().state == "deferred"
        new = kernel_emulator.invocations[1]
        assert kernel_emulator.invocation(old.id).status == "failed"
        assert EndReason.TASK_CLEARED in kernel_emulator.invocation(old.id).output
        assert active(kernel_emulator) == [new.id]
        assert kernel_emulator.most_active_at_once() == 1

    @pytest.mark.needs_airflow("3.3", REMEMBERS)
    def test_retry_after_a_crash_in_a_run_that_was_cleared_before_reconnects(
        self, crash, kernel_emulator, execution_api
    ):
        execution_api.clear_number = 2
        task = crash(deferrable=True)
        assert task.next_try().run().state == "deferred"
        assert len(kernel_emulator.invocations) == 1

    def test_try_after_the_clear_of_a_success_starts_anew(self, make_task, kernel_emulator, execution_api):
        task = make_task(KernelInvokeOperator, app_name="demo", action_name="echo", payload=1, poll_interval=0.01)
        assert task.run().state == "success"
        assert task.next_try(cleared=True).run().state == "success"
        assert len(kernel_emulator.invocations) == 2
        assert kernel_emulator.requests("PATCH") == ()

    @pytest.mark.needs_airflow("3.3", REMEMBERS)
    def test_try_after_a_clear_ends_what_an_intent_without_an_id_started(
        self, crash, kernel_emulator, execution_api
    ):
        task = crash()
        (old,) = kernel_emulator.invocations
        execution_api.store["kernel_invocation"]["external_id"] = None
        again = task.next_try(cleared=True)
        again.task.deferrable = True
        again.run()
        assert kernel_emulator.invocation(old.id).status == "failed"
        assert kernel_emulator.most_active_at_once() == 1

    @pytest.mark.needs_airflow("3.3", REMEMBERS)
    def test_first_try_of_a_deleted_task_instance_ends_the_former_invocation(self, crash, kernel_emulator):
        task = crash()
        (old,) = kernel_emulator.invocations
        again = task.next_try()
        again.ti.try_number = 1
        again.task.deferrable = True
        again.run()
        assert kernel_emulator.invocation(old.id).status == "failed"
        assert len(active(kernel_emulator)) == 1

    @pytest.mark.parametrize("arguments", [{"cancel_on_kill": False}, {"wait_for_completion": False}], ids=str)
    def test_try_after_a_clear_leaves_an_invocation_that_the_task_does_not_own(
        self, arguments, make_task, kernel_emulator
    ):
        task = make_task(KernelInvokeOperator, **{**HANG, "deferrable": "cancel_on_kill" in arguments}, **arguments)
        task.run()
        task.next_try(cleared=True).run()
        assert len(active(kernel_emulator)) == 2


class TestTheOrderlyEnd:
    @pytest.mark.needs_airflow(
        "3.3", "before, it may be either, which fails the task, unless it has a correlation_key"
    )
    def test_search_for_a_lost_start_excludes_the_invocation_of_the_try_before(self, make_task, kernel_emulator):
        """The same payload, seconds ago: known from the ledger, and so out of the question."""
        task = make_task(KernelInvokeOperator, app_name="demo", action_name="fail", poll_interval=0.01)
        task.run()
        kernel_emulator.add_fault(Fault("POST", "/invocations", nth=2, drop="after"))
        result = task.next_try().run()
        assert isinstance(result.error, KernelInvocationFailedError)
        assert len(kernel_emulator.invocations) == 2

    def test_try_after_a_failed_invocation_starts_anew(self, make_task, kernel_emulator):
        task = make_task(KernelInvokeOperator, app_name="demo", action_name="fail", poll_interval=0.01)
        task.run()
        task.next_try().run()
        assert len(kernel_emulator.invocations) == 2

    @pytest.mark.usefixtures("refused_key_ends_waits_soon")
    @pytest.mark.needs_airflow("3.3", REMEMBERS)
    def test_try_after_lost_contact_reconnects(self, make_task, kernel_emulator, execution_api):
        task = make_task(KernelInvokeOperator, **HANG)
        kernel_emulator.add_fault(Fault("GET", "/invocations/*", status=401))
        assert task.run().state == "up_for_retry"
        (invocation,) = kernel_emulator.invocations
        kernel_emulator.finish(invocation.id, output="found")
        assert task.next_try().run().state == "success"
        assert execution_api.xcoms["return_value"] == "found"
        assert len(kernel_emulator.invocations) == 1

    def test_try_without_durable_starts_anew_after_a_crash(self, crash, kernel_emulator, execution_api):
        task = crash(durable=False, deferrable=True)
        assert execution_api.store == {}
        task.next_try().run()
        assert len(kernel_emulator.invocations) == 2

    @pytest.mark.needs_airflow("3.3", REMEMBERS)
    def test_ledger_holds_no_payload_and_no_key(self, crash, kernel_emulator, execution_api):
        crash(payload={"card": "4711"})
        written = json.dumps(execution_api.store)
        assert "4711" not in written
        assert kernel_emulator.api_key not in written
