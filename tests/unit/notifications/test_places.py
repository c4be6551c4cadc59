"""What the notifier tells of an end, and what it does without a context, where no DAG callback calls it."""

from inspect import signature

import pytest
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.execution_time.supervisor import run_task_in_process
from support import deadlines
from support.dag_callbacks import XComs, answer_from
from support.dag_runs import NOW, context_of_missed_deadline, kill_task
from support.triggerer import Triggerer

from airflow_provider_kernel._compat import AirflowFailException, AirflowSkipException
from airflow_provider_kernel.callbacks import complete_kernel_invocation, fail_kernel_invocation
from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.notifications.kernel import KernelInvocationNotifier
from airflow_provider_kernel.operators.invocation_task import KernelInvocationTaskOperator

#: Before Airflow 3.3, a callback is told the error by a worker, but not by a task that is run in this process.
IS_TOLD_THE_ERROR = "client" in signature(run_task_in_process).parameters


class Ends(BaseOperator):
    def __init__(self, *, error=None, **arguments):
        super().__init__(**arguments)
        self.error = error

    def execute(self, context):
        if self.error is not None:
            raise self.error
        return {"orders": 42}


@pytest.fixture
def waiting(kernel_emulator, kernel_connection):
    with KernelHook() as hook:
        return hook.invoke("demo", "hang").id


@pytest.fixture
def conf(waiting):
    return {"kernel_invocation_id": waiting}


@pytest.fixture
def invocation(kernel_emulator, waiting):
    return lambda: kernel_emulator.invocation(waiting)


class TestOfTask:
    @pytest.mark.parametrize(
        ("map_index", "error", "reason"),
        [
            (-1, AirflowFailException("no page"), "The Airflow task t failed: AirflowFailException: no page"),
            (2, AirflowFailException("no\npage"), "The Airflow task t[2] failed: AirflowFailException: no page"),
            (-1, AirflowSkipException("later"), "The Airflow task was skipped"),
        ],
    )
    def test_reason_is_how_the_task_ended(self, map_index, error, reason, run, execution_api, conf, invocation):
        execution_api.conf = conf
        places = dict.fromkeys(("on_failure_callback", "on_skipped_callback"), KernelInvocationNotifier())
        run(Ends, error=error, map_index=map_index, **places)
        told = reason if IS_TOLD_THE_ERROR else reason.partition(": ")[0]
        assert invocation().output_json == {"error": told}

    def test_output_is_what_the_task_itself_returned(self, run, execution_api, conf, invocation):
        execution_api.conf = conf
        run(Ends, on_success_callback=KernelInvocationNotifier(output_from="t"))
        assert invocation().output_json == {"orders": 42}

    def test_task_that_was_queued_for_too_long_has_failed_with_tries_left(self, monkeypatch, conf, invocation):
        answer_from(monkeypatch, XComs({}))
        with DAG("d", schedule=None, start_date=NOW) as dag:
            BaseOperator(task_id="t", retries=2, on_failure_callback=[KernelInvocationNotifier()])
        kill_task(dag, "t", conf, callback_type=None, try_number=1, max_tries=2)
        assert invocation().output_json == {"error": "The Airflow task t failed"}


@pytest.fixture
def triggerer(supervisor):
    return Triggerer()


class TestOfDeadline:
    @pytest.fixture
    def miss(self, triggerer, conf):
        async def miss(conf=conf, **kwargs):
            callback = deadlines.AsyncCallback(KernelInvocationNotifier, kwargs=kwargs)
            event = await deadlines.call_in_triggerer(triggerer, callback, context_of_missed_deadline(conf))
            assert event["state"] == "success"

        return miss

    async def test_arguments_are_those_of_the_dag_file(self, miss, invocation):
        await miss(status="succeeded", output={"run": "{{ run_id }}", "late": [None, 1]}, max_output_bytes=100)
        assert (invocation().status, invocation().output_json) == ("succeeded", {"run": "r", "late": [None, 1]})

    @pytest.mark.parametrize(("given", "output"), [({}, None), ({"output": None}, "null")])
    async def test_null_is_an_output_and_none_is_none(self, given, output, miss, invocation):
        await miss(status="succeeded", **given)
        assert (invocation().status, invocation().output) == ("succeeded", output)

    async def test_templates_see_the_run_and_the_deadline(self, miss, invocation):
        await miss(reason="{{ dag_run.dag_id }} {{ dag_run.run_id }} {{ deadline.deadline_time.year }}")
        assert invocation().output_json == {"error": "d r 2026"}

    async def test_output_of_a_task_cannot_be_read(self, miss, invocation):
        await miss(status="succeeded", output_from="t")
        assert "the callback of a DeadlineAlert cannot read" in invocation().output_json["error"]

    async def test_template_of_a_task_fails_the_invocation(self, miss, invocation):
        await miss(status="succeeded", output="{{ ti.xcom_pull(task_ids='t') }}")
        assert invocation().output_json == {
            "error": "The output or the reason cannot be rendered: UndefinedError: 'ti' is undefined"
        }

    async def test_run_without_an_invocation_is_left_alone(self, miss, invocation, caplog):
        caplog.set_level("INFO")
        await miss(conf=None)
        assert invocation().status == "running"
        assert "no invocation waits for it" in caplog.text


class TestWithoutContext:
    @pytest.mark.parametrize("notifier", [KernelInvocationNotifier(), complete_kernel_invocation(1)])
    async def test_notifier_refuses_to_be_called_for_nothing(self, notifier):
        with pytest.raises(KernelInputError, match="called without a context"):
            notifier()
        with pytest.raises(KernelInputError, match="called without a context"):
            notifier(None)
        with pytest.raises(KernelInputError, match="called without a context"):
            await notifier

    def test_notifier_refuses_several_values(self):
        with pytest.raises(KernelInputError, match="called with 4 values; it takes one"):
            KernelInvocationNotifier()(*range(4))

    def test_notifier_that_knows_all_needs_none(self, waiting, invocation):
        fail_kernel_invocation("by hand", invocation_id=waiting)()
        assert invocation().output_json == {"error": "by hand"}

    def test_notifier_takes_the_context_by_name(self, conf, invocation):
        KernelInvocationNotifier()(context=context_of_missed_deadline(conf))
        assert invocation().status == "failed"


def test_retry_of_the_task_that_answers_leaves_the_invocation_to_the_next_try(
    make_task, execution_api, conf, invocation
):
    execution_api.conf = conf
    tries = iter([ValueError("not yet")])

    def answer():
        for error in tries:
            raise error
        return "found"

    places = ("on_retry_callback", "on_failure_callback", "on_success_callback", "on_skipped_callback")
    callbacks = dict.fromkeys(places, fail_kernel_invocation())
    first = make_task(KernelInvocationTaskOperator, python_callable=answer, **callbacks)
    first.run()
    assert invocation().status == "running"
    first.next_try().run()
    assert (invocation().status, invocation().output_json) == ("succeeded", "found")
