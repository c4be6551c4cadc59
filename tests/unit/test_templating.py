"""Template fields, rendered as Airflow renders them: text stays text, and values come as they are."""

from datetime import datetime, timezone

import pytest
from airflow.sdk import DAG, BaseOperator
from support.execution_api import task_instance
from support.in_process import run_task

from airflow_provider_kernel._compat import AirflowFailException
from airflow_provider_kernel.decorators.kernel_invocation import (
    KernelInvocationDecoratedOperator,
    kernel_invocation_task,
)
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.notifications.kernel import KernelInvocationNotifier
from airflow_provider_kernel.operators.invocation import (
    KernelCancelInvocationOperator,
    KernelCompleteInvocationOperator,
    KernelInvokeOperator,
    KernelUpdateInvocationOperator,
)
from airflow_provider_kernel.operators.invocation_task import KernelInvocationTaskOperator
from airflow_provider_kernel.operators.orphans import KernelCancelOrphansOperator
from airflow_provider_kernel.sensors.invocation import KernelInvocationSensor
from airflow_provider_kernel.templating import JSON_FIELDS, TEXT_FIELDS

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
#: What a function gets, as ``PythonOperator`` renders it.
ARGUMENTS = {"templates_dict", "op_args", "op_kwargs"}


class Numbers(BaseOperator):
    """Stands for a task whose output is used; the test puts that into XCom."""


@pytest.fixture
def dag():
    """A DAG that renders natively, with settings for its templates."""
    with DAG(
        "d",
        schedule=None,
        start_date=NOW,
        render_template_as_native_obj=True,
        user_defined_macros={"release": lambda: "1.10"},
        user_defined_filters={"short": lambda text: text[:4]},
        jinja_environment_kwargs={"variable_start_string": "<<", "variable_end_string": ">>"},
    ) as dag:
        yield dag


@pytest.fixture
def run(execution_api, kernel_connection):
    def run(task, map_index=-1):
        return run_task(
            ti=task_instance(task.task_id, map_index=map_index), task=task, client=execution_api.client()
        )

    return run


@pytest.mark.parametrize(
    "templated",
    [
        KernelCancelInvocationOperator,
        KernelCancelOrphansOperator,
        KernelCompleteInvocationOperator,
        KernelInvocationDecoratedOperator,
        KernelInvocationNotifier,
        KernelInvocationSensor,
        KernelInvocationTaskOperator,
        KernelInvokeOperator,
        KernelUpdateInvocationOperator,
    ],
)
def test_each_template_field_is_text_or_json_or_an_argument(templated):
    assert set(templated.template_fields) <= TEXT_FIELDS | JSON_FIELDS | ARGUMENTS


def test_text_that_looks_like_a_number_is_sent_as_text_and_a_payload_natively(dag, run, kernel_emulator):
    kernel_emulator.register("2048", "7", lambda ctx, payload: payload, version="1.10")
    result = run(
        KernelInvokeOperator(
            task_id="t",
            app_name="2048",
            action_name="<< '7.9' | short | first >>",
            version="<< release() >>",
            payload={"rows": "<< [1, 2] >>", "name": "<< 'x' >>"},
        )
    )
    assert result.state == "success", result.error
    (invocation,) = kernel_emulator.invocations
    assert (invocation.app_name, invocation.action_name, invocation.version) == ("2048", "7", "1.10")
    assert invocation.payload_json == {"rows": [1, 2], "name": "x"}


def test_text_fields_of_a_mapped_task_stay_text(dag, run, kernel_emulator):
    kernel_emulator.register("demo", "404", lambda ctx, payload: payload)
    mapped = KernelInvokeOperator.partial(task_id="t", app_name="demo", action_name="<< '404' >>").expand(
        payload=["<< 1 + 1 >>"]
    )
    assert run(mapped, map_index=0).state == "success"
    assert kernel_emulator.invocations[0].payload_json == 2


def test_reason_and_id_of_an_end_stay_text(dag, run, kernel_emulator):
    with KernelHook() as hook:
        invocation_id = hook.invoke("demo", "hang").id
    cancel = KernelCancelInvocationOperator(
        task_id="t", invocation_id=f"<< '{invocation_id}' >>", reason="<< 404 >>"
    )
    assert run(cancel).state == "success"
    assert kernel_emulator.invocation(invocation_id).output_json == {"error": "404"}


def test_arguments_of_a_function_are_native(dag, run, kernel_emulator):
    with KernelHook() as hook:
        invocation_id = hook.invoke("demo", "hang").id
    answer = KernelInvocationTaskOperator(
        task_id="t",
        invocation_id=invocation_id,
        python_callable=lambda *args, templates_dict, **kwargs: [*args, templates_dict, kwargs["n"]],
        op_args=["<< [1] >>"],
        op_kwargs={"n": "<< 1.5 >>"},
        templates_dict={"d": "<< {'a': 2} >>"},
    )
    assert run(answer).state == "success"
    assert kernel_emulator.invocation(invocation_id).output_json == [[1], {"d": {"a": 2}}, 1.5]


@pytest.mark.parametrize(
    ("operator", "field", "says"),
    [
        (KernelInvokeOperator, "version", "version is 1.1 of type float; it takes text"),
        (KernelInvokeOperator, "kernel_conn_id", "kernel_conn_id is 1.1 of type float; it takes text"),
        (KernelInvocationSensor, "invocation_id", "invocation_id is 1.1 of type float; it takes text"),
        (KernelCancelOrphansOperator, "dag_ids", "dag_ids is 1.1 of type float; it takes a list of texts"),
    ],
)
def test_other_output_in_a_text_field_fails_at_once_and_says_what_is_allowed(
    operator, field, says, dag, run, execution_api, kernel_emulator
):
    execution_api.xcoms["return_value"] = 1.1
    given = {
        KernelInvokeOperator: {"app_name": "demo", "action_name": "echo"},
        KernelCancelOrphansOperator: {"app_name": "demo"},
    }.get(operator, {})
    result = run(operator(task_id="t", retries=1, **{**given, field: Numbers(task_id="numbers").output}))
    assert result.state == "failed"
    assert isinstance(result.error, AirflowFailException)
    assert says in str(result.error)
    assert kernel_emulator.requests() == ()


@pytest.mark.parametrize("nested", [False, True], ids=["whole", "inside"])
def test_output_of_a_mapped_task_is_a_list_in_a_payload(nested, dag, run, execution_api, kernel_emulator):
    execution_api.other_xcoms = {("d", "r", "many", index): {"return_value": index} for index in (0, 1, 2)}
    many = Numbers.partial(task_id="many").expand(doc=["a", "b", "c"]).output
    echo = KernelInvokeOperator(
        task_id="t",
        app_name="demo",
        action_name="echo",
        payload={"items": many} if nested else many,
        correlation_key="mark" if nested else None,
    )
    result = run(echo)
    assert result.state == "success", result.error
    sent = kernel_emulator.invocations[0].payload_json
    assert (sent["items"] if nested else sent) == [0, 1, 2]
    reads = [path for _, path in execution_api.requests if "/xcoms/d/r/many/" in path]
    assert len(reads) == 1, "read once, however often its request is built"


def test_output_of_a_mapped_task_ends_an_invocation_and_is_handed_on(dag, run, execution_api, kernel_emulator):
    execution_api.other_xcoms = {("d", "r", "many", index): {"return_value": index} for index in (0, 1)}
    many = Numbers.partial(task_id="many").expand(doc=["a", "b"]).output
    with KernelHook() as hook:
        first, second = (hook.invoke("demo", "hang").id for _ in range(2))
    complete = KernelCompleteInvocationOperator(task_id="end", invocation_id=first, invocation_output=many)
    assert run(complete).state == "success"
    assert kernel_emulator.invocation(first).output_json == [0, 1]

    @kernel_invocation_task(task_id="answer", invocation_id=second)
    def answer(items):
        return {"items": items}

    assert run(answer(many).operator).state == "success"
    assert kernel_emulator.invocation(second).output_json == {"items": [0, 1]}
    assert execution_api.xcoms["return_value"] == {"items": [0, 1]}


@pytest.mark.parametrize(
    ("delimiters", "template"),
    [
        ({}, "{{ params.app }}"),
        ({"variable_start_string": "__", "variable_end_string": "__"}, "__ params.app __"),
        ({"line_statement_prefix": "do "}, "do set x = 1\n{{ params.app }}"),
    ],
)
def test_text_is_rendered_with_the_delimiters_of_the_dag(delimiters, template, run, kernel_emulator):
    kernel_emulator.register("shop", "echo", lambda ctx, payload=None: payload)
    with DAG("d", schedule=None, start_date=NOW, params={"app": "shop"}, jinja_environment_kwargs=delimiters):
        task = KernelInvokeOperator(task_id="t", app_name=template, action_name="echo", poll_interval=0.01)
    assert run(task).state == "success"
