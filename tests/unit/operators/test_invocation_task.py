"""A task that responds to a waiting invocation, run as Airflow runs it."""

import threading
import time
from datetime import datetime, timedelta, timezone

import pytest
from airflow.sdk import DAG, get_current_context, task
from support.execution_api import task_instance
from support.in_process import run_task

from airflow_provider_kernel._compat import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
    DownstreamTasksSkipped,
)
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.operators import _responder
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
def respond(make_task, waiting):
    def respond(function, **arguments):
        return make_task(KernelInvocationTaskOperator, python_callable=function, invocation_id=waiting, **arguments)

    return respond


@pytest.fixture
def current(kernel_emulator, waiting):
    return lambda: kernel_emulator.invocation(waiting)


def raises(error):
    def function():
        raise error

    return function


@pytest.mark.parametrize("value", [{"orders": 42}, "done", None, [1, "ü"], 0, False])
def test_invocation_output_is_what_the_function_returns(value, respond, current):
    result = respond(lambda: value).run()
    assert result.state == "success"
    assert current().status == "succeeded"
    assert current().output_json == value
    assert current().browsers == 0


def test_returned_value_is_in_xcom_and_not_in_the_log(respond, execution_api, capsys, caplog):
    respond(lambda: {"secret": "value-of-the-output"}).run()
    assert execution_api.xcoms["return_value"] == {"secret": "value-of-the-output"}
    assert "value-of-the-output" not in capsys.readouterr().out + caplog.text


def test_function_gets_its_arguments_and_the_context(respond, current):
    def function(city, ti, kernel_invocation):
        same = get_current_context()["kernel_invocation"] is kernel_invocation
        return [city, ti.task_id, kernel_invocation.id == current().id, same]

    respond(function, op_args=["Lisbon"]).run()
    assert current().output_json == ["Lisbon", "t", True, True]


@pytest.mark.needs_airflow("3.2", "before, no PythonOperator runs a coroutine")
def test_async_function_responds(respond, current):
    async def function():
        return "in time"

    assert respond(function).run().state == "success"
    assert current().output_json == "in time"


def test_response_whose_confirmation_is_lost_is_sent_again(respond, current, kernel_emulator):
    kernel_emulator.switches.patch_on_finished = 400
    kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", drop="after"))
    assert respond(lambda: 1).run().state == "success"
    assert current().output_json == 1


def test_invocation_id_comes_from_the_conf_of_the_run(make_task, execution_api, current):
    execution_api.conf = {"kernel_invocation_id": current().id}
    assert make_task(KernelInvocationTaskOperator, python_callable=lambda: 7).run().state == "success"
    assert current().output_json == 7


@pytest.mark.parametrize("conf", [{}, None, {"kernel_invocation_id": None}])
def test_task_without_an_invocation_id_fails_at_once_and_says_how_to_give_one(
    conf, make_task, execution_api, caplog, capsys
):
    execution_api.conf = conf
    called = []
    result = make_task(KernelInvocationTaskOperator, python_callable=lambda: called.append(1)).run()
    assert result.state == "failed"
    assert called == []
    assert '{"kernel_invocation_id": "<id>"}' in str(result.error)


def test_error_with_retries_left_leaves_the_invocation_to_the_next_try(respond, current, kernel_emulator):
    first = respond(raises(ValueError("not yet")))
    assert first.run().state == "up_for_retry"
    assert current().status == "running"
    assert kernel_emulator.requests("PATCH") == ()
    first.task.python_callable = lambda: "now"
    assert first.next_try().run().state == "success"
    assert current().output_json == "now"


def test_error_in_the_last_try_fails_the_invocation(respond, current):
    first = respond(raises(ValueError("sold\n  out")))
    first.run()
    assert first.next_try().run().state == "failed"
    assert current().status == "failed"
    assert current().output_json == {"error": "ValueError: sold out"}
    assert current().browsers == 0


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (AirflowFailException("no such city"), "AirflowFailException: no such city"),
        (KeyError(), "KeyError"),
        (ValueError("x" * 5000), "ValueError: " + "x" * 300 + "…"),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
def test_invocation_output_names_class_and_message_of_the_error_in_one_bounded_line(
    error, reason, respond, current
):
    assert respond(raises(error), max_tries=0).run().state == "failed"
    assert current().output_json == {"error": reason}


def test_airflow_fail_exception_fails_the_invocation_without_a_retry(respond, current):
    assert respond(raises(AirflowFailException("never")), max_tries=3).run().state == "failed"
    assert current().status == "failed"


def test_traceback_is_in_the_output_with_include_traceback(respond, current):
    respond(raises(ValueError("x")), max_tries=0, include_traceback=True).run()
    output = current().output_json
    assert output["error"] == "ValueError: x"
    assert "in function" in output["traceback"]
    assert output["traceback"].endswith("ValueError: x\n")


def test_secret_that_airflow_masks_is_not_in_the_output(respond, current, monkeypatch):
    from airflow.sdk._shared.secrets_masker import _secrets_masker
    from airflow.sdk.log import mask_secret

    # Other tests have told Airflow of secrets that may be any piece of text.
    monkeypatch.setattr(_secrets_masker(), "patterns", set())
    monkeypatch.setattr(_secrets_masker(), "replacer", None)

    def function():
        mask_secret("hunter2-and-more")
        raise ValueError("the password hunter2-and-more is wrong")

    respond(function, max_tries=0, include_traceback=True).run()
    assert "hunter2-and-more" not in current().output
    assert current().output_json["error"] == "ValueError: the password *** is wrong"


def test_skipped_task_fails_the_invocation(respond, current):
    assert respond(raises(AirflowSkipException("holiday")), max_tries=3).run().state == "skipped"
    assert current().status == "failed"
    assert current().output_json == {"error": "The Airflow task was skipped: holiday"}


def test_task_that_succeeds_by_skipping_those_after_it_fails_the_invocation(respond, current):
    assert respond(raises(DownstreamTasksSkipped(tasks=["x"])), max_tries=3).run().state == "success"
    assert current().status == "failed"


@pytest.mark.needs_airflow("3.3", "before, a task cannot wait for input")
def test_task_that_awaits_input_leaves_the_invocation_to_what_goes_on(respond, current):
    from airflow.sdk.exceptions import TaskAwaitingInput

    waits = TaskAwaitingInput(method_name="execute", timeout=None)
    assert respond(raises(waits), max_tries=0).run().state == "awaiting_input"
    assert current().status == "running"


@pytest.mark.needs_airflow("3.3", "before, a task has no retry policy")
def test_retry_policy_that_fails_the_task_fails_the_invocation(respond, current):
    from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

    policy = ExceptionRetryPolicy(rules=[RetryRule(exception=ValueError, action=RetryAction.FAIL)])
    assert respond(raises(ValueError("bad")), max_tries=3, retry_policy=policy).run().state == "failed"
    assert current().status == "failed"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"when": datetime(2026, 1, 1)}, "output['when'] cannot be written as JSON"),
        (float("nan"), "output cannot be written as JSON"),
        ("x" * 101, "output has 103 bytes of JSON; max_output_bytes allows 100"),
    ],
)
def test_unsendable_output_fails_the_invocation_without_a_retry(value, words, respond, current, kernel_emulator):
    assert respond(lambda: value, max_tries=3, max_output_bytes=100).run().state == "failed"
    assert current().status == "failed"
    assert words in current().output_json["error"]
    assert len(kernel_emulator.requests("PATCH")) == 1


class TestWhatXComCannotHold:
    @pytest.mark.parametrize("value", [[1], "text", {1: "a"}], ids=repr)
    def test_value_without_items_to_push_is_refused(self, value, respond, current):
        assert respond(lambda: value, multiple_outputs=True, max_tries=3).run().state == "failed"
        assert current().status == "failed"

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            ({"rows": ({"__type": "airflow.sdk.Connection", "__var": {}},)}, r"$.rows[0] has keys that make"),
            ({1: "\0"}, "$['1'] has the character NUL"),
            ([2**64], "$[0] is a number beyond 64 bits"),
        ],
    )
    def test_fails_the_invocation_without_a_retry(self, value, words, respond, current):
        assert respond(lambda: value, max_tries=3).run().state == "failed"
        assert current().status == "failed"
        assert words in current().output_json["error"]
        assert "do_xcom_push=False" in current().output_json["error"]

    @pytest.mark.parametrize("key", ["_link_KernelDashboardLink", "invocation_id", "RETURN_VALUE"])
    def test_keys_of_the_task_itself_are_refused(self, key, respond, current):
        assert respond(lambda: {key: "javascript:"}, multiple_outputs=True, max_tries=3).run().state == "failed"
        assert f"$.{key} is an XCom key that belongs to the task" in current().output_json["error"]

    def test_is_sent_if_it_does_not_go_there(self, respond, current):
        assert respond(lambda: 2**64, do_xcom_push=False).run().state == "success"
        assert current().output_json == 2**64

    def test_python_values_that_both_hold_are_sent(self, respond, current):
        assert respond(lambda: {1: (1, 2), "a/b": None}, multiple_outputs=False).run().state == "success"
        assert current().output_json == {"1": [1, 2], "a/b": None}


def test_output_that_kernel_refuses_fails_the_invocation(respond, current, kernel_emulator):
    kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", status=400))
    assert respond(lambda: 1, max_tries=3).run().state == "failed"
    assert current().status == "failed"
    assert current().output_json["error"].startswith("KernelBadRequestError: ")


@pytest.mark.parametrize(
    ("max_tries", "state", "status"), [(1, "up_for_retry", "running"), (0, "failed", "failed")]
)
def test_execution_timeout_leaves_the_invocation_to_a_retry_or_fails_it(max_tries, state, status, respond, current):
    def function():
        threading.Event().wait(60)

    assert respond(function, max_tries=max_tries, execution_timeout=timedelta(seconds=0.5)).run().state == state
    assert current().status == status
    if status == "failed":
        assert current().output_json["error"].startswith("AirflowTaskTimeout")


@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_execution_timeout_during_an_outage_fails_the_invocation_at_once(method, respond, current, kernel_emulator):
    kernel_emulator.add_fault(Fault(method, "/invocations/*", status=503, headers={"Retry-After": "60"}))
    task = respond(lambda: "too late", max_tries=0, execution_timeout=timedelta(seconds=0.5))
    began = time.monotonic()
    assert task.run().state == "failed"
    assert time.monotonic() - began < 30
    assert current().output_json["error"].startswith("AirflowTaskTimeout")


def test_execution_timeout_does_not_shorten_a_failure_that_is_being_sent(
    respond, current, kernel_emulator, monkeypatch
):
    """Airflow calls on_kill after the timeout, and that has little time; the outage lasts longer."""
    monkeypatch.setattr(_responder, "WORKER_END_SECONDS", 20.0)
    monkeypatch.setattr(_responder, "KILL_SECONDS", 0.3)
    monkeypatch.setattr(_responder, "LAST_URGENT_ATTEMPT_SECONDS", 0.2)
    kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", seconds=3.0, status=503))
    task = respond(raises(ValueError("x")), max_tries=0, execution_timeout=timedelta(seconds=1.5))
    assert task.run().state == "failed"
    assert current().status == "failed"


@pytest.mark.usefixtures("impatient_client")
@pytest.mark.parametrize(
    ("method", "nth", "answer"),
    [
        ("GET", 1, {"status": 404, "body": "<html>a proxy</html>"}),
        ("GET", 2, {"status": 400, "body": "<html>a proxy</html>"}),
        ("PATCH", 1, {"status": 200, "body": "<html>a proxy</html>"}),
        ("PATCH", (1, 2, 3), {"status": 520}),
        ("PATCH", (1, 2, 3), {"drop": "after"}),
    ],
    ids=str,
)
def test_outage_does_not_fail_an_invocation_in_the_last_try(method, nth, answer, respond, current, kernel_emulator):
    kernel_emulator.add_fault(Fault(method, "/invocations/*", nth, **answer))
    assert respond(lambda: 42, max_tries=0).run().state == "success"
    assert current().status == "succeeded"
    assert current().output_json == 42


@pytest.mark.usefixtures("impatient_client")
def test_response_that_kernel_does_not_take_is_left_to_the_next_try(respond, current, kernel_emulator, monkeypatch):
    kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", nth=None, status=500))
    monkeypatch.setattr(_responder, "LONGEST_LIFE_SECONDS", 0.0)
    first = respond(lambda: "at last")
    assert first.run().state == "up_for_retry"
    assert current().status == "running"
    kernel_emulator.clear_faults()
    assert first.next_try().run().state == "success"
    assert current().output_json == "at last"


@pytest.fixture
def impatient_client(monkeypatch):
    """Send each request once, and repeat what failed at once."""
    monkeypatch.setattr("airflow_provider_kernel.client.outage._FIRST_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(_responder.KernelClient, "__init__", impatient(_responder.KernelClient.__init__))


def impatient(init):
    from dataclasses import replace

    from airflow_provider_kernel.client.retry import RetryPolicy

    def patched(self, config, **options):
        init(self, replace(config, retry=RetryPolicy(max_attempts=1)), **options)

    return patched


def test_invocation_ended_before_the_start_fails_the_task_without_a_retry(
    respond, current, kernel_emulator, waiting
):
    kernel_emulator.finish(waiting, "failed", {"error": "the caller gave up"})
    called = []
    result = respond(lambda: called.append(1), max_tries=3).run()
    assert result.state == "failed"
    assert called == []
    assert "KernelInvocationFinishedError" in str(result.error)
    assert current().output_json == {"error": "the caller gave up"}
    assert kernel_emulator.requests("PATCH") == ()


def test_check_stops_the_function_when_the_invocation_has_ended(
    respond, current, kernel_emulator, waiting, monkeypatch
):
    monkeypatch.setattr(_responder, "CHECK_SECONDS", 0)

    def function(kernel_invocation):
        kernel_invocation.check()
        kernel_emulator.finish(waiting, "failed", {"error": "the caller gave up"})
        kernel_invocation.check()
        return "too late"

    assert respond(function, max_tries=3).run().state == "failed"
    assert current().output_json == {"error": "the caller gave up"}
    assert kernel_emulator.requests("PATCH") == ()


@pytest.mark.parametrize("status", ["succeeded", "failed"])
def test_result_of_an_invocation_that_ended_meanwhile_is_not_overwritten(
    status, respond, current, kernel_emulator, waiting
):
    kernel_emulator.switches.patch_on_finished = "overwrite"

    def function():
        kernel_emulator.finish(waiting, status, "theirs")
        return "mine"

    assert respond(function, max_tries=3).run().state == "failed"
    assert current().output_json == "theirs"
    assert kernel_emulator.requests("PATCH") == ()


def test_check_in_a_loop_sends_few_requests_and_survives_an_outage(respond, current, kernel_emulator):
    def function(kernel_invocation):
        kernel_emulator.add_fault(Fault("GET", "/invocations/*", nth=None, status=503))
        for _ in range(1000):
            kernel_invocation.check()
        kernel_emulator.clear_faults()
        return "done"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_responder.KernelClient, "__init__", impatient(_responder.KernelClient.__init__))
        assert respond(function).run().state == "success"
    assert current().output_json == "done"
    assert len(kernel_emulator.requests("GET", "/invocations/*")) < 20


@pytest.mark.needs_airflow("3.3", "before, no try knows of another")
def test_retry_after_a_crash_keeps_the_response_of_the_crashed_try(respond, current, execution_api):
    calls = []
    first = respond(lambda: calls.append(1) or {"n": len(calls)})
    first.run()  # its worker crashes before Airflow hears of it
    assert first.next_try().run().state == "success"
    assert calls == [1]
    assert execution_api.xcoms["return_value"] == {"n": 1}


@pytest.mark.needs_airflow("3.3", "before, no try knows of another")
@pytest.mark.parametrize(
    ("is_pushed", "state"), [(True, "failed"), (False, "success")], ids=["pushed", "not pushed"]
)
def test_response_of_a_crashed_try_that_xcom_cannot_hold_fails_the_task_and_stays(
    is_pushed, state, respond, current, kernel_emulator
):
    first = respond(lambda: {"page": {"__type": "dict", "__var": {}}}, max_tries=3, do_xcom_push=False)
    first.run()  # its worker crashes before Airflow hears of it
    first.task.do_xcom_push = is_pushed  # the DAG was changed meanwhile
    patches = kernel_emulator.requests("PATCH")
    second = first.next_try().run()
    assert second.state == state
    if state == "failed":
        assert "$.page has keys that make Airflow take it for a Python object" in str(second.error)
        assert "Set do_xcom_push=False" in str(second.error)
    assert kernel_emulator.requests("PATCH") == patches
    assert current().status == "succeeded"


def test_cleared_task_fails_when_its_invocation_has_ended(respond, current):
    first = respond(lambda: 1)
    first.run()
    assert first.next_try(cleared=True).run().state == "failed"
    assert current().output_json == 1


@pytest.fixture
def run_decorated(execution_api, waiting, make_task):
    def run(make):
        with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:
            make(waiting)
        (operator,) = dag.tasks
        return run_task(ti=task_instance(operator.task_id), task=operator, client=execution_api.client())

    return run


def test_decorator_responds_with_what_the_function_returns(run_decorated, current):
    def make(waiting):
        @task.kernel_invocation(invocation_id=waiting)
        def summarize(city, kernel_invocation):
            return [city, kernel_invocation.id == waiting]

        summarize("Lisbon")

    assert run_decorated(make).state == "success"
    assert current().output_json == ["Lisbon", True]


def test_decorator_without_arguments_takes_the_id_of_the_conf(run_decorated, current, execution_api):
    execution_api.conf = {"kernel_invocation_id": current().id}

    def make(waiting):
        @task.kernel_invocation
        def summarize():
            return 3

        summarize()

    assert run_decorated(make).state == "success"
    assert current().output_json == 3


def test_decorated_task_can_be_mapped():
    with DAG("d", schedule=None) as dag:

        @task.kernel_invocation(invocation_id="x")
        def summarize(city, kernel_invocation=None):
            return city

        summarize.expand(city=["Lisbon", "Porto"])
    (operator,) = dag.tasks
    assert operator.is_mapped
    assert operator.unmap({"op_kwargs": {"city": "Lisbon"}}).op_kwargs["city"] == "Lisbon"


@pytest.mark.needs_airflow("3.3", "before, a task has no retry policy")
def test_retry_policy_that_raises_is_ignored(respond, current):
    from airflow.sdk import RetryPolicy

    class Broken(RetryPolicy):
        def evaluate(self, **arguments):
            raise RuntimeError("broken")

    assert respond(raises(ValueError("x")), retry_policy=Broken()).run().state == "up_for_retry"
    assert current().status == "running"


def test_function_that_reschedules_leaves_the_invocation_waiting(respond, current):
    error = AirflowRescheduleException(datetime(2030, 1, 1, tzinfo=timezone.utc))
    assert respond(raises(error), max_tries=0).run().state == "up_for_reschedule"
    assert current().status == "running"
