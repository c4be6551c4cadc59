"""KernelInvokeOperator: start one invocation, own it, return its output."""

import logging
from datetime import timedelta

import pytest
from airflow.sdk import literal
from support.execution_api import task_instance
from support.in_process import run_task

from airflow_provider_kernel._compat import AirflowFailException
from airflow_provider_kernel.client.errors import (
    KernelAmbiguousStartError,
    KernelAuthenticationError,
    KernelInputError,
    KernelLostContactError,
    KernelTaskKilledError,
)
from airflow_provider_kernel.client.resources.invocations.errors import (
    KernelInvocationFailedError,
    KernelInvocationTimeoutError,
    KernelOutputTooLargeError,
)
from airflow_provider_kernel.client.resources.invocations.wait import poll_delays
from airflow_provider_kernel.operators.invocation import KernelInvokeOperator
from airflow_provider_kernel.testing import Fault


@pytest.fixture(autouse=True)
def a_short_look_for_lost_starts(monkeypatch):
    monkeypatch.setattr("airflow_provider_kernel.owned.invocation.OwnedInvocation.listing_lag_seconds", 0.0)


ECHO = {"app_name": "demo", "action_name": "echo", "poll_interval": 0.01}
HANG = {"app_name": "demo", "action_name": "hang", "poll_interval": 0.01}
BROWSERS = {
    "app_name": "demo",
    "action_name": "browsers",
    "payload": {"count": 1, "seconds": 600},
    "poll_interval": 0.01,
}


def assert_cancelled(kernel):
    (invocation,) = kernel.invocations
    assert invocation.status == "failed"
    assert invocation.browsers == 0
    assert len(kernel.requests("PATCH", "/invocations/*")) == 1
    assert len(kernel.requests("DELETE", "/invocations/*/browsers")) == 1


def assert_nothing_cancelled(kernel):
    assert kernel.requests("PATCH") == ()
    assert kernel.requests("DELETE") == ()


class TestTheResult:
    @pytest.mark.parametrize("value", [{"a": [1, None, "ü"]}, [], [1], "text", "", 0, 1.5, False, True], ids=repr)
    def test_invoke_returns_the_output(self, value, run, execution_api, kernel_emulator):
        result = run(KernelInvokeOperator, payload=value, **ECHO)
        assert result.state == "success"
        assert execution_api.xcoms["return_value"] == value
        assert_nothing_cancelled(kernel_emulator)

    def test_invoke_returns_an_output_that_is_no_json_as_text(self, run, execution_api, kernel_emulator):
        def finish_with_text(ctx):
            kernel_emulator.finish(ctx.invocation_id, raw_output="not {json")

        kernel_emulator.register("app", "text", finish_with_text)
        run(KernelInvokeOperator, app_name="app", action_name="text", poll_interval=0.01)
        assert execution_api.xcoms["return_value"] == "not {json"

    def test_invocation_id_is_in_xcom_before_the_wait(self, run, execution_api, kernel_emulator):
        order = []
        execution_api.hold = lambda method, path: order.append(path.rsplit("/", 1)[-1])
        run(KernelInvokeOperator, **ECHO)
        (invocation,) = kernel_emulator.invocations
        assert execution_api.xcoms["invocation_id"] == invocation.id
        assert order.index("invocation_id") < order.index("state" if "state" in order else "return_value")

    def test_invoke_without_waiting_returns_the_id(self, run, execution_api, kernel_emulator):
        result = run(KernelInvokeOperator, wait_for_completion=False, **HANG)
        (invocation,) = kernel_emulator.invocations
        assert result.state == "success"
        assert execution_api.xcoms["return_value"] == invocation.id
        assert invocation.status in ("queued", "running")
        assert_nothing_cancelled(kernel_emulator)

    def test_output_above_max_output_bytes_fails_the_task_without_a_retry(self, run, kernel_emulator):
        result = run(KernelInvokeOperator, payload="x" * 99, max_output_bytes=100, **ECHO)
        assert result.state == "failed"
        assert isinstance(result.error.kernel_error, KernelOutputTooLargeError)
        assert "101 bytes" in str(result.error)
        assert_nothing_cancelled(kernel_emulator)

    def test_output_of_max_output_bytes_is_returned(self, run):
        assert run(KernelInvokeOperator, payload="x" * 98, max_output_bytes=100, **ECHO).state == "success"

    def test_max_output_bytes_does_not_matter_without_xcom(self, run):
        result = run(KernelInvokeOperator, payload="x" * 99, max_output_bytes=10, do_xcom_push=False, **ECHO)
        assert result.state == "success"


class TestTheRequest:
    def test_invoke_renders_all_template_fields(self, run, kernel_emulator):
        run(
            KernelInvokeOperator,
            app_name="{{ 'demo' }}",
            action_name="{{ 'echo' }}",
            version="{{ 'latest' }}",
            payload={"run": "{{ run_id }}", "nested": ["{{ ti.task_id }}"]},
            kernel_conn_id="{{ 'kernel_default' }}",
            poll_interval=0.01,
        )
        (create,) = kernel_emulator.requests("POST", "/invocations")
        assert create.json == {
            "app_name": "demo",
            "action_name": "echo",
            "version": "latest",
            "payload": '{"run": "r", "nested": ["t"]}',
            "async": True,
        }

    def test_invoke_without_a_payload_sends_none(self, run, kernel_emulator):
        run(KernelInvokeOperator, **ECHO)
        (create,) = kernel_emulator.requests("POST", "/invocations")
        assert "payload" not in create.json

    @pytest.mark.parametrize(
        ("arguments", "sent"),
        [
            ({}, None),
            ({"async_timeout_seconds": 40}, 40),
            ({"execution_timeout": timedelta(minutes=10)}, 660),
            ({"execution_timeout": timedelta(seconds=5)}, 65),
            ({"execution_timeout": timedelta(hours=3)}, 3600),
            ({"execution_timeout": timedelta(minutes=10), "async_timeout_seconds": 40}, 40),
        ],
        ids=str,
    )
    def test_async_timeout_seconds_follow_the_execution_timeout(self, arguments, sent, run, kernel_emulator):
        run(KernelInvokeOperator, **ECHO, **arguments)
        (create,) = kernel_emulator.requests("POST", "/invocations")
        assert create.json.get("async_timeout_seconds") == sent

    @pytest.mark.parametrize(
        "arguments",
        [
            {**ECHO, "app_name": "{{ '' }}"},
            {**ECHO, "version": literal(" ")},
            {**ECHO, "payload": {"when": literal(timedelta(1))}},
        ],
        ids=["empty app name", "blank version", "not JSON"],
    )
    def test_argument_that_cannot_work_fails_the_task_before_anything_is_sent(
        self, arguments, run, kernel_emulator
    ):
        result = run(KernelInvokeOperator, **arguments)
        assert result.state == "failed"
        assert isinstance(result.error.kernel_error, KernelInputError)
        assert kernel_emulator.journal == ()

    def test_log_of_invoke_holds_no_payload_output_or_key(self, run, kernel_emulator, caplog, capsys):
        caplog.set_level(logging.DEBUG)
        result = run(KernelInvokeOperator, payload={"card": "4711-secret"}, **ECHO)
        assert result.state == "success"
        logged = caplog.text + "".join(capsys.readouterr())
        (invocation,) = kernel_emulator.invocations
        assert invocation.id in logged
        assert "4711-secret" not in logged
        assert kernel_emulator.api_key not in logged


class TestErrors:
    def test_failed_invocation_fails_the_task_and_keeps_its_retries(self, run, kernel_emulator):
        result = run(
            KernelInvokeOperator,
            app_name="demo",
            action_name="fail",
            payload={"message": "the shop was closed", "plain": True},
            poll_interval=0.01,
        )
        assert result.state == "up_for_retry"
        assert isinstance(result.error, KernelInvocationFailedError)
        assert result.error.invocation.output == "the shop was closed"
        assert "the shop was closed" not in str(result.error)
        assert_nothing_cancelled(kernel_emulator)

    def test_permanent_error_uses_up_no_retries(self, run, kernel_emulator, monkeypatch):
        monkeypatch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", f"kernel://:sk-wrong@{kernel_emulator.base_url[7:]}/http")
        result = run(KernelInvokeOperator, **ECHO)
        assert result.state == "failed"
        assert isinstance(result.error, AirflowFailException)
        assert isinstance(result.error.kernel_error, KernelAuthenticationError)
        assert len(kernel_emulator.journal) == 1

    @pytest.mark.parametrize("status", [400, 403, 404, 422])
    @pytest.mark.parametrize("body", [None, "<html>no</html>", b""], ids=["error body", "html", "empty"])
    def test_refusal_by_the_api_uses_up_no_retries(self, status, body, run, kernel_emulator):
        kernel_emulator.add_fault(Fault("POST", "/invocations", status=status, body=body))
        result = run(KernelInvokeOperator, **ECHO)
        assert result.state == "failed"
        assert str(status) in str(result.error)
        assert len(kernel_emulator.journal) == 1

    def test_start_whose_outcome_stays_unknown_is_not_retried(self, run, kernel_emulator):
        kernel_emulator.add_fault(Fault("POST", "/invocations", nth=None, status=500))
        result = run(KernelInvokeOperator, **ECHO)
        assert result.state == "failed"
        assert isinstance(result.error.kernel_error, KernelAmbiguousStartError)
        assert "MAY be running" in str(result.error)

    @pytest.mark.usefixtures("refused_key_ends_waits_soon")
    @pytest.mark.parametrize(
        "max_tries",
        [pytest.param(1, marks=pytest.mark.needs_airflow("3.3", "before, no try knows of another")), 0],
        ids=["tries left", "none left"],
    )
    def test_key_that_stays_refused_fails_the_task_and_ends_nothing(self, max_tries, run, kernel_emulator):
        kernel_emulator.add_fault(Fault("GET", "/invocations/*", nth=None, status=401))
        result = run(KernelInvokeOperator, max_tries=max_tries, **BROWSERS)
        assert result.state == ("up_for_retry" if max_tries else "failed")
        assert isinstance(result.error, KernelLostContactError)
        assert_nothing_cancelled(kernel_emulator)

    @pytest.mark.usefixtures("refused_key_ends_waits_soon")
    def test_try_that_no_later_one_would_know_of_ends_its_invocation_also_when_its_key_is_refused(
        self, run, kernel_emulator
    ):
        """Else the next try would start a second one beside it."""
        kernel_emulator.add_fault(Fault("GET", "/invocations/*", status=401))
        result = run(KernelInvokeOperator, max_tries=1, durable=False, **BROWSERS)
        assert result.state == "up_for_retry"
        assert_cancelled(kernel_emulator)

    @pytest.mark.parametrize("status", [400, 404, 409, 501, 520, 525, 598])
    def test_poll_that_fails_cancels_nothing(self, status, run, kernel_emulator, execution_api):
        kernel_emulator.add_fault(Fault("GET", "/invocations/*", nth=(1, 2), status=status))
        assert run(KernelInvokeOperator, payload=1, **ECHO).state == "success"
        assert execution_api.xcoms["return_value"] == 1
        assert len(kernel_emulator.invocations) == 1

    def test_unknown_status_is_not_final_and_logged_once(self, run, kernel_emulator, execution_api, capsys):
        kernel_emulator.add_fault(Fault("POST", "/invocations", body={"id": "x", "status": "queued"}))
        strange, ended = {"id": "x", "status": "pondering"}, {"id": "x", "status": "succeeded", "output": "1"}
        kernel_emulator.add_fault(Fault("GET", "/invocations/x", nth=(1, 2, 3), body=strange))
        kernel_emulator.add_fault(Fault("GET", "/invocations/x", nth=None, body=ended))
        run(KernelInvokeOperator, payload=1, **ECHO)
        assert execution_api.xcoms["return_value"] == 1
        assert capsys.readouterr().out.count("is pondering") == 1


class TestTheInvocationDoesNotOutliveTheTask:
    def test_execution_timeout_cancels(self, run, kernel_emulator):
        result = run(KernelInvokeOperator, execution_timeout=timedelta(seconds=1), **BROWSERS)
        assert result.state == "up_for_retry"
        assert type(result.error).__name__ == "AirflowTaskTimeout"
        assert_cancelled(kernel_emulator)

    def test_execution_timeout_in_the_create_request_cancels_when_the_answer_is_there(self, run, kernel_emulator):
        kernel_emulator.add_fault(Fault("POST", "/invocations", delay_answer=0.5))
        result = run(KernelInvokeOperator, execution_timeout=timedelta(seconds=1), **BROWSERS)
        assert type(result.error).__name__ == "AirflowTaskTimeout"
        assert_cancelled(kernel_emulator)

    def test_xcom_that_airflow_does_not_take_cancels(self, run, kernel_emulator, execution_api):
        def refuse(method, path):
            if path.endswith("/invocation_id"):
                raise ConnectionError("the API server is gone")

        execution_api.hold = refuse
        result = run(KernelInvokeOperator, **BROWSERS)
        assert result.state == "up_for_retry"
        assert_cancelled(kernel_emulator)

    def test_kill_before_the_start_starts_nothing(self, run, kernel_emulator):
        class KilledAtOnce(KernelInvokeOperator):
            def run_with_hook(self, context):
                self.on_kill()
                return super().run_with_hook(context)

        result = run(KilledAtOnce, **HANG)
        assert result.state == "up_for_retry"
        assert isinstance(result.error, KernelTaskKilledError)
        assert kernel_emulator.journal == ()

    def test_second_kill_sends_nothing_more(self, run, kernel_emulator):
        class KilledTwice(KernelInvokeOperator):
            def _wait(self, guard, *arguments):
                self.on_kill()
                self.on_kill()
                return super()._wait(guard, *arguments)

        result = run(KilledTwice, **BROWSERS)
        assert isinstance(result.error, KernelTaskKilledError)
        assert_cancelled(kernel_emulator)

    def test_kill_after_the_end_of_the_task_sends_nothing(self, run, kernel_emulator):
        class KilledLate(KernelInvokeOperator):
            def run_with_hook(self, context):
                output = super().run_with_hook(context)
                self.on_kill()
                return output

        assert run(KilledLate, payload=1, **ECHO).state == "success"
        assert_nothing_cancelled(kernel_emulator)

    def test_failed_cancel_is_logged_and_does_not_hide_the_error(self, run, kernel_emulator, caplog, capsys):
        kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", nth=None, status=400))
        result = run(KernelInvokeOperator, execution_timeout=timedelta(seconds=1), **BROWSERS)
        assert type(result.error).__name__ == "AirflowTaskTimeout"
        (invocation,) = kernel_emulator.invocations
        assert f"Invocation {invocation.id} could not be ended" in caplog.text + capsys.readouterr().out
        assert invocation.browsers == 0

    def test_execution_timeout_leaves_the_invocation_without_cancel_on_kill(self, run, kernel_emulator):
        run(KernelInvokeOperator, cancel_on_kill=False, execution_timeout=timedelta(seconds=1), **HANG)
        (invocation,) = kernel_emulator.invocations
        assert invocation.status == "running"
        assert_nothing_cancelled(kernel_emulator)

    def test_invocation_that_outlives_its_time_limit_is_cancelled(self, run, kernel_emulator, monkeypatch):
        monkeypatch.setattr("airflow_provider_kernel.operators._limits._GRACE_SECONDS", -10)
        result = run(KernelInvokeOperator, **{**BROWSERS, "async_timeout_seconds": 10})
        assert isinstance(result.error, KernelInvocationTimeoutError)
        assert_cancelled(kernel_emulator)


def test_polls_come_quickly_at_first_and_then_at_the_interval():
    delays = poll_delays(10)
    waits = [next(delays) for _ in range(30)]
    assert waits[0] <= 0.55
    assert all(9 <= wait <= 11 for wait in waits[10:])


def test_invoke_can_be_mapped(execution_api, kernel_connection, kernel_emulator):
    from airflow.sdk import DAG

    with DAG("d", schedule=None):
        mapped = KernelInvokeOperator.partial(task_id="t", **ECHO).expand(payload=["a", "b"])
    for index, expected in enumerate(["a", "b"]):
        result = run_task(ti=task_instance(map_index=index), task=mapped, client=execution_api.client())
        assert result.state == "success"
        assert execution_api.xcoms["return_value"] == expected
