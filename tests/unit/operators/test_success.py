"""What Airflow would refuse when `execute` has returned is refused before an invocation is told of a success."""

from datetime import datetime, timezone
from typing import TypedDict

import pytest
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Asset
from support.execution_api import task_instance
from support.in_process import run_task

from airflow_provider_kernel.client.resources.invocations.errors import KernelOutputError
from airflow_provider_kernel.decorators.kernel_invocation import kernel_invocation_task
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.operators.invocation import (
    KernelCancelInvocationOperator,
    KernelCompleteInvocationOperator,
    KernelInvokeOperator,
    KernelUpdateInvocationOperator,
)
from airflow_provider_kernel.operators.invocation_task import KernelInvocationTaskOperator
from airflow_provider_kernel.sensors.invocation import KernelInvocationSensor

ASSET = Asset("a")


@pytest.fixture
def waiting(kernel_emulator, kernel_connection):
    with KernelHook() as hook:
        return hook.invoke("demo", "hang").id


@pytest.fixture
def current(kernel_emulator, waiting):
    return lambda: kernel_emulator.invocation(waiting)


def map_over(made):
    with made.task.dag:
        BashOperator.partial(task_id="mapped", bash_command="true").expand(env=made.task.output)
    return made


def give_extra(extra):
    """Make a ``pre_execute`` that gives the asset event of the task an extra."""

    def give(context):
        context["outlet_events"][ASSET].extra = extra

    return {"outlets": [ASSET], "pre_execute": give}


#: Arguments of a task, its result, and what is said: Airflow refuses each of them after the task's work.
REFUSED = {
    "map index without its value": ({"map_index_template": "{{ city }}"}, "map_index_template '{{ city }}' cannot"),
    "long map index": ({"map_index_template": "{{ 'x' * 251 }}"}, "renders to 251 characters; Airflow keeps 250"),
    "object in an event": (give_extra({"page": object()}), "the extra of an outlet event cannot be sent"),
}


@pytest.mark.parametrize(("arguments", "says"), REFUSED.values(), ids=list(REFUSED))
class TestRefusedSuccess:
    def test_answer_is_not_sent(self, arguments, says, make_task, waiting, current):
        answer = {"python_callable": lambda: "done", "invocation_id": waiting}
        result = make_task(KernelInvocationTaskOperator, **answer, **arguments).run()
        assert result.state == "failed"  # though it has a retry left
        assert current().status == "failed"
        assert says in current().output_json["error"]

    def test_invocation_is_not_completed(self, arguments, says, make_task, waiting, kernel_emulator):
        result = make_task(KernelCompleteInvocationOperator, invocation_id=waiting, **arguments).run()
        assert result.state == "failed"
        assert says in str(result.error)
        assert kernel_emulator.requests("PATCH") == ()

    @pytest.mark.parametrize("operator", [KernelInvokeOperator, KernelInvocationSensor])
    def test_result_is_refused_for_good(self, operator, arguments, says, make_task, waiting):
        if operator is KernelInvokeOperator:
            own = {"app_name": "demo", "action_name": "echo", "payload": 1}
        else:
            own = {"invocation_id": waiting}
            with KernelHook() as hook:
                hook.complete_invocation(waiting, 1)
        result = make_task(operator, **own, **arguments).run()
        assert result.state == "failed"
        assert isinstance(result.error.kernel_error, KernelOutputError)
        assert says in str(result.error)


def test_map_index_of_what_the_function_puts_into_the_context_is_taken(make_task, waiting, current):
    def answer(**context):
        context["city"] = "Lisbon"
        return 1

    made = make_task(
        KernelInvocationTaskOperator,
        python_callable=answer,
        invocation_id=waiting,
        map_index_template="{{ 'city' }}: {{ ti.task_id }}",
    )
    assert made.run().state == "success"
    assert current().output_json == 1


def test_event_that_airflow_takes_is_taken(make_task, waiting, current):
    extra = {"at": datetime(2026, 1, 1, tzinfo=timezone.utc), "rows": [1, None, "ü"]}
    made = make_task(
        KernelInvocationTaskOperator, python_callable=lambda: 1, invocation_id=waiting, **give_extra(extra)
    )
    assert made.run().state == "success"
    assert current().status == "succeeded"


@pytest.mark.parametrize(
    ("value", "arguments", "says"),
    [
        ("text", {}, "$ is of type str, and a task is mapped over it"),
        (None, {}, "$ is of type NoneType, and a task is mapped over it"),
        ([], {"do_xcom_push": False}, "$ is not pushed (do_xcom_push=False)"),
        ([1, 2, 3], {}, "$ has 3 items, and a task is mapped over it; Airflow maps over 2 at most"),
    ],
)
def test_returned_value_that_airflow_cannot_map_over_is_not_sent(
    value, arguments, says, make_task, waiting, current, monkeypatch
):
    monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", "2")
    made = make_task(
        KernelInvocationTaskOperator, python_callable=lambda: value, invocation_id=waiting, **arguments
    )
    assert map_over(made).run().state == "failed"
    assert says in current().output_json["error"]


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}, (), range(2)], ids=repr)
def test_returned_value_that_airflow_can_map_over_is_sent(value, make_task, waiting, current):
    made = make_task(KernelInvocationTaskOperator, python_callable=lambda: value, invocation_id=waiting)
    assert map_over(made).run().state == "success"
    assert current().status == "succeeded"


class Prices(TypedDict):
    rows: list[int]


@pytest.mark.parametrize("annotation", [dict, Prices])
def test_function_whose_annotation_says_dict_does_not_answer_with_a_list(
    annotation, execution_api, waiting, current
):
    def answer():
        return [1]

    answer.__annotations__["return"] = annotation
    with DAG("d", schedule=None):
        operator = kernel_invocation_task(task_id="t", invocation_id=waiting)(answer)().operator
    result = run_task(ti=task_instance(), task=operator, client=execution_api.client())
    assert result.state == "failed"
    assert "annotated with -> dict" in current().output_json["error"]


@pytest.mark.parametrize("key", ["a?b", "x" * 251, "..", " a"])
def test_key_that_is_none_in_xcom_is_not_sent_under_multiple_outputs(key, make_task, waiting, current):
    made = make_task(
        KernelInvocationTaskOperator,
        python_callable=lambda: {key: 1},
        invocation_id=waiting,
        multiple_outputs=True,
    )
    assert made.run().state == "failed"
    assert "cannot be an XCom key of its own" in current().output_json["error"]


@pytest.mark.parametrize(
    ("operator", "arguments"),
    [(KernelCompleteInvocationOperator, {}), (KernelUpdateInvocationOperator, {"status": "succeeded"})],
)
def test_status_that_a_task_is_mapped_over_succeeds_no_invocation(
    operator, arguments, make_task, waiting, kernel_emulator
):
    assert map_over(make_task(operator, invocation_id=waiting, **arguments)).run().state == "failed"
    assert kernel_emulator.requests("PATCH") == ()


def test_invocation_is_cancelled_whatever_becomes_of_the_task(make_task, waiting, current):
    map_over(make_task(KernelCancelInvocationOperator, invocation_id=waiting)).run()
    assert current().status == "failed"


def test_nothing_is_started_whose_id_a_task_is_mapped_over(make_task, kernel_emulator):
    own = {"app_name": "demo", "action_name": "echo", "wait_for_completion": False}
    assert map_over(make_task(KernelInvokeOperator, **own)).run().state == "failed"
    assert kernel_emulator.requests("POST") == ()


@pytest.mark.needs_airflow("3.3", "before, no try knows of another")
def test_next_try_hands_on_the_answer_of_one_whose_push_failed(make_task, execution_api, waiting, current):
    calls = []
    first = make_task(
        KernelInvocationTaskOperator, python_callable=lambda: calls.append(1) or {"n": 1}, invocation_id=waiting
    )

    def refuse(method, path):
        if (method, path.rsplit("/", 1)[-1]) == ("POST", "return_value"):
            raise RuntimeError("no answer")

    execution_api.hold = refuse
    assert first.run().state == "up_for_retry"
    assert current().status == "succeeded"
    execution_api.hold = lambda method, path: None
    second = first.next_try().run()
    assert second.state == "success"
    assert execution_api.xcoms["return_value"] == {"n": 1}
    assert calls == [1]
