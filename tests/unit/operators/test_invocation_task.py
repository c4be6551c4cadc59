"""A task that a waiting invocation is answered by, run as Airflow runs it."""

import threading
from datetime import datetime, timedelta, timezone

import pytest
from airflow.sdk import DAG, get_current_context, task
from support.execution_api import task_instance
from support.in_process import run_task

from airflow_provider_kernel._compat import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
)
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.operators import answering
from airflow_provider_kernel.operators.invocation_task import KernelInvocationTaskOperator
from airflow_provider_kernel.testing import Fault


@pytest.fixture
def waiting(kernel_emulator, kernel_connection):
    """An invocation that waits, with a browser open."""
    kernel_emulator.register("demo", "ask", lambda ctx: ctx.create_browser() and ctx.wait())
    with KernelHook() as hook:
        invocation_id = hook.invoke("demo", "ask").id
    kernel_emulator.wait_until(lambda: kernel_emulator.invocation(invocation_id).browsers == 1)
    return invocation_id


@pytest.fixture
def answer(make_task, waiting):
    def answer(function, **arguments):
        return make_task(KernelInvocationTaskOperator, python_callable=function, invocation_id=waiting, **arguments)

    return answer


@pytest.fixture
def as_it_stands(kernel_emulator, waiting):
    return lambda: kernel_emulator.invocation(waiting)


def raises(error):
    def function():
        raise error

    return function


class TestAnAnswer:
    @pytest.mark.parametrize("value", [{"orders": 42}, "done", None, [1, "ü"], 0, False])
    def test_the_invocation_gets_exactly_what_the_function_returns(self, value, answer, as_it_stands):
        result = answer(lambda: value).run()
        assert result.state == "success"
        assert as_it_stands().status == "succeeded"
        assert as_it_stands().output_json == value
        assert as_it_stands().browsers == 0

    def test_it_is_in_xcom_too_and_not_in_the_log(self, answer, execution_api, capsys, caplog):
        answer(lambda: {"secret": "value-of-the-output"}).run()
        assert execution_api.xcoms["return_value"] == {"secret": "value-of-the-output"}
        assert "value-of-the-output" not in capsys.readouterr().out + caplog.text

    def test_the_function_gets_its_arguments_and_the_context(self, answer, as_it_stands):
        def function(city, ti, kernel_invocation):
            same = get_current_context()["kernel_invocation"] is kernel_invocation
            return [city, ti.task_id, kernel_invocation.id == as_it_stands().id, same]

        answer(function, op_args=["Lisbon"]).run()
        assert as_it_stands().output_json == ["Lisbon", "t", True, True]

    @pytest.mark.needs_airflow("3.2", "before, no PythonOperator runs a coroutine")
    def test_an_async_function(self, answer, as_it_stands):
        async def function():
            return "in time"

        assert answer(function).run().state == "success"
        assert as_it_stands().output_json == "in time"

    def test_an_answer_whose_confirmation_is_lost_is_sent_again(self, answer, as_it_stands, kernel_emulator):
        kernel_emulator.switches.patch_on_finished = 400
        kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", drop="after"))
        assert answer(lambda: 1).run().state == "success"
        assert as_it_stands().output_json == 1

    def test_the_id_comes_from_the_runs_conf(self, make_task, execution_api, as_it_stands):
        execution_api.conf = {"kernel_invocation_id": as_it_stands().id}
        assert make_task(KernelInvocationTaskOperator, python_callable=lambda: 7).run().state == "success"
        assert as_it_stands().output_json == 7

    @pytest.mark.parametrize("conf", [{}, None, {"kernel_invocation_id": None}])
    def test_a_run_without_an_id_fails_at_once_and_says_how_to_give_one(
        self, conf, make_task, execution_api, caplog, capsys
    ):
        execution_api.conf = conf
        called = []
        result = make_task(KernelInvocationTaskOperator, python_callable=lambda: called.append(1)).run()
        assert result.state == "failed"
        assert called == []
        assert '{"kernel_invocation_id": "<id>"}' in str(result.error)


class TestNoAnswer:
    def test_an_error_with_retries_left_leaves_it_to_the_next_try(self, answer, as_it_stands, kernel_emulator):
        first = answer(raises(ValueError("not yet")))
        assert first.run().state == "up_for_retry"
        assert as_it_stands().status == "running"
        assert kernel_emulator.requests("PATCH") == ()
        first.task.python_callable = lambda: "now"
        assert first.next_try().run().state == "success"
        assert as_it_stands().output_json == "now"

    def test_an_error_in_the_last_try_is_the_answer(self, answer, as_it_stands):
        first = answer(raises(ValueError("sold\n  out")))
        first.run()
        assert first.next_try().run().state == "failed"
        assert as_it_stands().status == "failed"
        assert as_it_stands().output_json == {"error": "ValueError: sold out"}
        assert as_it_stands().browsers == 0

    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (AirflowFailException("no such city"), "AirflowFailException: no such city"),
            (KeyError(), "KeyError"),
            (ValueError("x" * 5000), "ValueError: " + "x" * 300 + "…"),
            (SystemExit(3), "SystemExit: 3"),
        ],
    )
    def test_the_reason_is_class_and_message_in_one_bounded_line(self, error, reason, answer, as_it_stands):
        assert answer(raises(error), max_tries=0).run().state == "failed"
        assert as_it_stands().output_json == {"error": reason}

    def test_airflow_fail_exception_does_not_wait_for_retries(self, answer, as_it_stands):
        assert answer(raises(AirflowFailException("never")), max_tries=3).run().state == "failed"
        assert as_it_stands().status == "failed"

    def test_a_traceback_only_if_asked(self, answer, as_it_stands):
        answer(raises(ValueError("x")), max_tries=0, include_traceback=True).run()
        output = as_it_stands().output_json
        assert output["error"] == "ValueError: x"
        assert "in function" in output["traceback"]
        assert output["traceback"].endswith("ValueError: x\n")

    def test_a_secret_that_airflow_knows_is_masked(self, answer, as_it_stands, monkeypatch):
        from airflow.sdk._shared.secrets_masker import _secrets_masker
        from airflow.sdk.log import mask_secret

        # Other tests have told Airflow of secrets that may be any piece of text.
        monkeypatch.setattr(_secrets_masker(), "patterns", set())
        monkeypatch.setattr(_secrets_masker(), "replacer", None)

        def function():
            mask_secret("hunter2-and-more")
            raise ValueError("the password hunter2-and-more is wrong")

        answer(function, max_tries=0, include_traceback=True).run()
        assert "hunter2-and-more" not in as_it_stands().output
        assert as_it_stands().output_json["error"] == "ValueError: the password *** is wrong"

    def test_a_skip_ends_it(self, answer, as_it_stands):
        assert answer(raises(AirflowSkipException("holiday")), max_tries=3).run().state == "skipped"
        assert as_it_stands().status == "failed"
        assert as_it_stands().output_json == {"error": "The Airflow task was skipped: holiday"}

    @pytest.mark.needs_airflow("3.3", "before, a task has no retry policy")
    def test_a_retry_policy_has_its_say(self, answer, as_it_stands):
        from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

        policy = ExceptionRetryPolicy(rules=[RetryRule(exception=ValueError, action=RetryAction.FAIL)])
        assert answer(raises(ValueError("bad")), max_tries=3, retry_policy=policy).run().state == "failed"
        assert as_it_stands().status == "failed"

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            ({"when": datetime(2026, 1, 1)}, "output['when'] cannot be written as JSON"),
            (float("nan"), "output cannot be written as JSON"),
            ("x" * 101, "output has 103 bytes of JSON; max_output_bytes allows 100"),
        ],
    )
    def test_an_output_that_cannot_be_sent_is_told_and_not_tried_again(
        self, value, words, answer, as_it_stands, kernel_emulator
    ):
        assert answer(lambda: value, max_tries=3, max_output_bytes=100).run().state == "failed"
        assert as_it_stands().status == "failed"
        assert words in as_it_stands().output_json["error"]
        assert len(kernel_emulator.requests("PATCH")) == 1

    def test_an_output_that_kernel_refuses_is_told_too(self, answer, as_it_stands, kernel_emulator):
        kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", status=400))
        assert answer(lambda: 1, max_tries=3).run().state == "failed"
        assert as_it_stands().status == "failed"
        assert as_it_stands().output_json["error"].startswith("KernelBadRequestError: ")

    @pytest.mark.parametrize(
        ("max_tries", "state", "status"), [(1, "up_for_retry", "running"), (0, "failed", "failed")]
    )
    def test_a_timeout(self, max_tries, state, status, answer, as_it_stands):
        def function():
            threading.Event().wait()

        assert answer(function, max_tries=max_tries, execution_timeout=timedelta(seconds=0.5)).run().state == state
        assert as_it_stands().status == status
        if status == "failed":
            assert as_it_stands().output_json["error"].startswith("AirflowTaskTimeout")

    def test_an_answer_that_does_not_get_through_is_left_to_the_next_try(
        self, answer, as_it_stands, kernel_emulator, kernel_connection, monkeypatch
    ):
        kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", nth=None, status=500))
        monkeypatch.setattr(answering.KernelClient, "__init__", impatient(answering.KernelClient.__init__))
        first = answer(lambda: "at last")
        assert first.run().state == "up_for_retry"
        assert as_it_stands().status == "running"
        kernel_emulator.clear_faults()
        assert first.next_try().run().state == "success"
        assert as_it_stands().output_json == "at last"


def impatient(init):
    from dataclasses import replace

    from airflow_provider_kernel.client.retry import RetryPolicy

    def patched(self, config, **options):
        init(self, replace(config, retry=RetryPolicy(max_attempts=1)), **options)

    return patched


class TestEndedBySomebodyElse:
    def test_before_the_start_nothing_is_done_and_no_retry_burnt(
        self, answer, as_it_stands, kernel_emulator, waiting
    ):
        kernel_emulator.finish(waiting, "failed", {"error": "the caller gave up"})
        called = []
        result = answer(lambda: called.append(1), max_tries=3).run()
        assert result.state == "failed"
        assert called == []
        assert "KernelInvocationFinishedError" in str(result.error)
        assert as_it_stands().output_json == {"error": "the caller gave up"}
        assert kernel_emulator.requests("PATCH") == ()

    def test_meanwhile_check_stops_the_work(self, answer, as_it_stands, kernel_emulator, waiting, monkeypatch):
        monkeypatch.setattr(answering, "CHECK_SECONDS", 0)

        def function(kernel_invocation):
            kernel_invocation.check()
            kernel_emulator.finish(waiting, "failed", {"error": "the caller gave up"})
            kernel_invocation.check()
            return "too late"

        assert answer(function, max_tries=3).run().state == "failed"
        assert as_it_stands().output_json == {"error": "the caller gave up"}
        assert kernel_emulator.requests("PATCH") == ()

    @pytest.mark.parametrize("status", ["succeeded", "failed"])
    def test_meanwhile_without_a_check_its_result_is_not_overwritten(
        self, status, answer, as_it_stands, kernel_emulator, waiting
    ):
        kernel_emulator.switches.patch_on_finished = "overwrite"

        def function():
            kernel_emulator.finish(waiting, status, "theirs")
            return "mine"

        assert answer(function, max_tries=3).run().state == "failed"
        assert as_it_stands().output_json == "theirs"
        assert kernel_emulator.requests("PATCH") == ()

    def test_a_check_in_a_loop_asks_seldom_and_survives_an_outage(self, answer, as_it_stands, kernel_emulator):
        def function(kernel_invocation):
            kernel_emulator.add_fault(Fault("GET", "/invocations/*", nth=None, status=503))
            for _ in range(1000):
                kernel_invocation.check()
            kernel_emulator.clear_faults()
            return "done"

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(answering.KernelClient, "__init__", impatient(answering.KernelClient.__init__))
            assert answer(function).run().state == "success"
        assert as_it_stands().output_json == "done"
        assert len(kernel_emulator.requests("GET", "/invocations/*")) < 20


class TestAfterACrash:
    @pytest.mark.needs_airflow("3.3", "before, no try knows of another")
    def test_the_answer_of_the_crashed_try_stands(self, answer, as_it_stands, execution_api):
        calls = []
        first = answer(lambda: calls.append(1) or {"n": len(calls)})
        first.run()  # its worker crashes before Airflow hears of it
        assert first.next_try().run().state == "success"
        assert calls == [1]
        assert execution_api.xcoms["return_value"] == {"n": 1}

    def test_after_a_clear_it_says_that_the_invocation_is_over(self, answer, as_it_stands):
        first = answer(lambda: 1)
        first.run()
        assert first.next_try(cleared=True).run().state == "failed"
        assert as_it_stands().output_json == 1


class TestTheDecorator:
    @pytest.fixture
    def run_decorated(self, execution_api, waiting, make_task):
        def run(make):
            with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:
                make(waiting)
            (operator,) = dag.tasks
            return run_task(ti=task_instance(operator.task_id), task=operator, client=execution_api.client())

        return run

    def test_it_is_there_under_its_name(self, run_decorated, as_it_stands):
        def make(waiting):
            @task.kernel_invocation(invocation_id=waiting)
            def summarize(city, kernel_invocation):
                return [city, kernel_invocation.id == waiting]

            summarize("Lisbon")

        assert run_decorated(make).state == "success"
        assert as_it_stands().output_json == ["Lisbon", True]

    def test_without_arguments_the_id_is_that_of_the_conf(self, run_decorated, as_it_stands, execution_api):
        execution_api.conf = {"kernel_invocation_id": as_it_stands().id}

        def make(waiting):
            @task.kernel_invocation
            def summarize():
                return 3

            summarize()

        assert run_decorated(make).state == "success"
        assert as_it_stands().output_json == 3

    def test_it_can_be_mapped_over(self):
        with DAG("d", schedule=None) as dag:

            @task.kernel_invocation(invocation_id="x")
            def summarize(city, kernel_invocation=None):
                return city

            summarize.expand(city=["Lisbon", "Porto"])
        (operator,) = dag.tasks
        assert operator.is_mapped
        assert operator.unmap({"op_kwargs": {"city": "Lisbon"}}).op_kwargs["city"] == "Lisbon"


@pytest.mark.needs_airflow("3.3", "before, a task has no retry policy")
def test_a_retry_policy_that_fails_is_as_none(answer, as_it_stands):
    from airflow.sdk import RetryPolicy

    class Broken(RetryPolicy):
        def evaluate(self, **arguments):
            raise RuntimeError("broken")

    assert answer(raises(ValueError("x")), retry_policy=Broken()).run().state == "up_for_retry"
    assert as_it_stands().status == "running"


def test_a_function_that_defers_goes_on_later(answer, as_it_stands):
    error = AirflowRescheduleException(datetime(2030, 1, 1, tzinfo=timezone.utc))
    assert answer(raises(error), max_tries=0).run().state == "up_for_reschedule"
    assert as_it_stands().status == "running"
