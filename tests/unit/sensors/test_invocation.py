"""KernelInvocationSensor waits in every mode for an invocation that it did not start, and never changes it."""

import time
from datetime import datetime, timedelta, timezone

import pytest
from airflow.sdk import literal

from airflow_provider_kernel._compat import AirflowFailException, AirflowSensorTimeout, AirflowTaskTimeout
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.sensors.invocation import KernelInvocationSensor
from airflow_provider_kernel.testing import Fault

each_way = pytest.mark.parametrize("deferrable", [False, True], ids=["poke", "deferrable"])


@pytest.fixture
def invocation_id(kernel_emulator, kernel_connection):
    with KernelHook() as hook:
        return hook.invoke("demo", "hang").id


@pytest.fixture
def sensor(make_task, invocation_id):
    return lambda **arguments: make_task(
        KernelInvocationSensor,
        **{"invocation_id": invocation_id, "poke_interval": 0.01, "timeout": 60, **arguments},
    )


@pytest.fixture(autouse=True)
def sensor_changes_no_invocation(kernel_emulator):
    yield
    assert kernel_emulator.requests("PATCH") == ()
    assert kernel_emulator.requests("DELETE") == ()


@each_way
def test_sensor_returns_the_output_of_an_ended_invocation(
    deferrable, sensor, invocation_id, kernel_emulator, execution_api
):
    kernel_emulator.finish(invocation_id, output={"a": 1})
    result = sensor(deferrable=deferrable).run()  # without a deferral
    assert result.state == "success"
    assert execution_api.xcoms["return_value"] == {"a": 1}


@each_way
def test_sensor_of_an_unknown_end_fails_and_names_its_status(deferrable, sensor, invocation_id, kernel_emulator):
    ended = {"id": invocation_id, "status": "timed_out", "finished_at": "2026-01-01T00:00:00Z", "app_name": "demo"}
    kernel_emulator.add_fault(Fault("GET", "/invocations/*", nth=None, body=ended))
    result = sensor(deferrable=deferrable).run()
    assert result.state == "failed"
    assert "of demo ended with the unknown status 'timed_out', which counts as failed" in str(result.error)


@each_way
@pytest.mark.parametrize("soft_fail", [False, True], ids=["", "soft_fail"])
@pytest.mark.parametrize("missing", [None, "", "None"], ids=repr)
def test_sensor_without_an_id_says_that_there_is_no_invocation(missing, soft_fail, deferrable, sensor):
    result = sensor(deferrable=deferrable, invocation_id=literal(missing), soft_fail=soft_fail).run()
    assert result.state == ("skipped" if soft_fail else "failed")
    assert soft_fail or f"invocation_id is {missing!r}: there is no invocation to wait for" in str(result.error)


def test_deferred_sensor_returns_the_output_of_an_invocation_that_ends_later(
    sensor, invocation_id, kernel_emulator, execution_api
):
    task = sensor(deferrable=True)
    deferred = task.run()
    assert deferred.state == "deferred"
    assert deferred.msg.trigger_kwargs["cancel_on_kill"] is False
    kernel_emulator.finish(invocation_id, output="later")
    result = task.resume("execute_complete", event=task.trigger_event(deferred))
    assert result.state == "success"
    assert execution_api.xcoms["return_value"] == "later"


def test_poking_sensor_waits_for_the_end_of_the_invocation(sensor, kernel_emulator, execution_api, make_task):
    kernel_emulator.register("app", "short", lambda ctx: ctx.wait(0.05) or "done")
    with KernelHook() as hook:
        started = hook.invoke("app", "short").id
    assert sensor(invocation_id=started).run().state == "success"
    assert execution_api.xcoms["return_value"] == "done"


def test_sensor_in_reschedule_mode_releases_its_slot(sensor):
    assert sensor(mode="reschedule", poke_interval=1).run().state == "up_for_reschedule"


@pytest.mark.parametrize(("poke_interval", "seconds"), [(1, 300), (600, 600)])
def test_rescheduled_sensor_is_not_queued_again_before_the_scheduler_has_noticed(
    poke_interval, seconds, sensor, monkeypatch
):
    monkeypatch.setenv("AIRFLOW__KERNEL__MIN_DEFERRAL", "300")
    # The task runner of these tests has no scheduler.
    monkeypatch.setattr("airflow_provider_kernel.lifecycle.min_deferral.has_no_triggerer", lambda: False)
    earliest = datetime.now(timezone.utc) + timedelta(seconds=seconds)
    rescheduled = sensor(mode="reschedule", poke_interval=poke_interval).run()
    latest = datetime.now(timezone.utc) + timedelta(seconds=seconds)
    assert earliest <= rescheduled.msg.reschedule_date <= latest


@each_way
@pytest.mark.parametrize(("soft_fail", "state"), [(False, "failed"), (True, "skipped")])
class TestSoftFail:
    def test_sensor_on_an_already_failed_invocation_fails_or_skips(
        self, deferrable, soft_fail, state, sensor, invocation_id, kernel_emulator
    ):
        kernel_emulator.finish(invocation_id, "failed", {"error": "no"})
        result = sensor(deferrable=deferrable, soft_fail=soft_fail).run()
        assert result.state == state
        if state == "failed":
            assert isinstance(result.error, AirflowFailException)
            assert f"Invocation {invocation_id}" in str(result.error)

    def test_sensor_on_an_invocation_that_fails_later_fails_or_skips(
        self, deferrable, soft_fail, state, sensor, invocation_id, kernel_emulator
    ):
        task = sensor(deferrable=deferrable, soft_fail=soft_fail)
        if deferrable:
            deferred = task.run()
            kernel_emulator.finish(invocation_id, "failed", {"error": "no"})
            result = task.resume("execute_complete", event=task.trigger_event(deferred))
        else:
            kernel_emulator.add_fault(
                Fault("GET", "/invocations/*", body={"id": invocation_id, "status": "running"})
            )
            kernel_emulator.finish(invocation_id, "failed", {"error": "no"})
            result = task.run()
        assert result.state == state

    def test_sensor_that_times_out_fails_or_skips(self, deferrable, soft_fail, state, sensor, kernel_emulator):
        task = sensor(deferrable=deferrable, soft_fail=soft_fail, timeout=0.05)
        if deferrable:
            deferred = task.run()
            deferred.msg.trigger_kwargs["deadline"] = time.time() - 1
            result = task.resume("execute_complete", event=task.trigger_event(deferred))
        else:
            result = task.run()
        assert result.state == state
        if state == "failed":
            assert isinstance(result.error, AirflowSensorTimeout)


@each_way
def test_sensor_on_an_unknown_invocation_fails_without_retries(deferrable, sensor):
    result = sensor(deferrable=deferrable, invocation_id="nonexistent").run()
    assert result.state == "failed"
    assert isinstance(result.error, AirflowFailException)


def test_sensor_is_retried_after_a_crash_of_its_trigger(sensor):
    task = sensor(deferrable=True)
    task.run()
    assert task.resume("__fail__", error="Trigger failure").state == "up_for_retry"


def test_sensor_is_retried_after_lost_contact(sensor, invocation_id):
    task = sensor(deferrable=True)
    task.run()
    event = {"invocation_id": invocation_id, "status": "error", "error": "KernelServerError: 500"}
    assert task.resume("execute_complete", event=event).state == "up_for_retry"


def test_sensor_fails_when_the_output_is_too_large(sensor, invocation_id, kernel_emulator):
    kernel_emulator.finish(invocation_id, output="x" * 99)
    assert sensor(max_output_bytes=100).run().state == "failed"


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_wait_that_kernel_asks_for_ends_with_the_timeout_of_the_sensor(mode, sensor, kernel_emulator):
    answer = {"status": 501, "headers": {"Retry-After": "60"}}  # not sent again by the client
    kernel_emulator.add_fault(Fault("GET", "/invocations/*", None, **answer))
    began = time.monotonic()
    assert isinstance(sensor(mode=mode, timeout=0.3).run().error, AirflowSensorTimeout)
    assert time.monotonic() - began < 30


@each_way
class TestNeverFail:
    def test_sensor_that_loses_contact_is_skipped(
        self, deferrable, sensor, invocation_id, kernel_emulator, refused_key_ends_waits_soon
    ):
        kernel_emulator.add_fault(Fault("GET", "/invocations/*", body={"id": invocation_id, "status": "running"}))
        kernel_emulator.add_fault(Fault("GET", "/invocations/*", None, status=401))
        assert sensor(deferrable=deferrable, never_fail=True).run_through().state == "skipped"

    def test_sensor_that_times_out_fails(self, deferrable, sensor):
        result = sensor(deferrable=deferrable, never_fail=True, timeout=0.05).run_through()
        assert result.state == "failed"
        assert isinstance(result.error, AirflowSensorTimeout)


def test_silent_sensor_defers_again_after_lost_contact(sensor, invocation_id, kernel_emulator):
    task = sensor(deferrable=True, silent_fail=True)
    first = task.run().msg.trigger_kwargs
    event = {"invocation_id": invocation_id, "status": "error", "error": "KernelServerError: 500"}
    again = task.resume("execute_complete", event=event)
    assert again.state == "deferred"
    assert again.msg.trigger_kwargs["was_seen"]
    kernel_emulator.finish(invocation_id, output="later")
    assert task.resume("execute_complete", event=task.trigger_event(again)).state == "success"
    assert first["deadline"] - again.msg.trigger_kwargs["deadline"] < 5


class TestPolls:
    @pytest.fixture
    def delays(self, sensor):
        """The pauses between the polls of its trigger."""
        return lambda **arguments: sensor(deferrable=True, **arguments).run().msg.trigger_kwargs["poll_delays"]

    def test_deferred_sensor_polls_at_its_poke_interval(self, delays):
        assert delays(poke_interval=timedelta(minutes=2)) == [120]
        assert delays(poke_interval=0) == [1]

    def test_pauses_of_a_deferred_sensor_are_those_of_poke_mode(self, sensor, delays):
        arguments = {"poke_interval": 5, "timeout": 600, "exponential_backoff": True}
        found = delays(**arguments)
        assert sum(found) == 600
        assert all(5 * 2**n <= delay <= 5 * 2 ** (n + 1) for n, delay in enumerate(found[1:-1]))
        assert delays(**arguments, max_wait=timedelta(seconds=20))[-2:] != [20, 20]
        assert delays(**arguments, max_wait=20)[-1] == 20

    def test_sensor_that_defers_again_goes_on_with_the_pauses_and_says_so(
        self, sensor, execution_api, invocation_id
    ):
        execution_api.start_date = datetime.now(timezone.utc) - timedelta(seconds=300)
        task = sensor(deferrable=True, silent_fail=True, poke_interval=5, timeout=600, exponential_backoff=True)
        event = {"invocation_id": invocation_id, "status": "error", "error": "KernelServerError: 500"}
        assert task.run().msg.trigger_kwargs["was_deferred"] is False
        again = task.resume("execute_complete", event=event).msg.trigger_kwargs
        assert sum(again["poll_delays"]) > 290
        assert again["was_deferred"] is True


def test_execution_timeout_ends_a_deferral_as_itself_although_the_dag_was_changed(sensor):
    task = sensor(deferrable=True, execution_timeout=timedelta(seconds=0.5), soft_fail=True)
    event = task.trigger_event(task.run())
    task.task.execution_timeout = timedelta(hours=1)
    assert isinstance(task.resume("execute_complete", event=event).error, AirflowTaskTimeout)


def test_event_of_a_trigger_of_an_earlier_version_means_the_timeout(sensor, invocation_id):
    task = sensor(deferrable=True, execution_timeout=timedelta(seconds=30))
    assert task.run().state == "deferred"
    result = task.resume("execute_complete", event={"invocation_id": invocation_id, "status": "timeout"})
    assert isinstance(result.error, AirflowSensorTimeout)


@pytest.mark.parametrize(
    ("execution_timeout", "limit"),
    [(timedelta(seconds=30), "execution_timeout"), (timedelta(seconds=31), "timeout"), (timedelta(0), "timeout")],
)
def test_earlier_limit_ends_a_deferral_and_the_execution_timeout_at_the_same_time(execution_timeout, limit, sensor):
    deferred = sensor(deferrable=True, timeout=30, execution_timeout=execution_timeout).run().msg
    assert deferred.trigger_kwargs["limit"] == limit
    assert deferred.trigger_kwargs["deadline"] <= time.time() + 30
