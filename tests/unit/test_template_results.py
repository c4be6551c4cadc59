"""Text that a template has made of a value, in what is sent to Kernel."""

import logging
from datetime import date, datetime, timezone

import pytest
from airflow.sdk import DAG, BaseOperator
from support.execution_api import task_instance
from support.in_process import run_task

from airflow_provider_kernel._compat import AirflowFailException
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.notifications.kernel import KernelInvocationNotifier
from airflow_provider_kernel.operators.invocation import (
    KernelCompleteInvocationOperator,
    KernelInvokeOperator,
    KernelUpdateInvocationOperator,
)

ECHO = {"app_name": "demo", "action_name": "echo", "retries": 1}
#: What other tasks have returned, by the name that templates give it here.
VALUES = {
    "none": None,
    "row": {"q": 1},
    "day": {"d": date(2026, 1, 1)},
    "rows": [{"q": "it's"}],
    "numbers": [1, 2],
    "word": "None of them",
}


@pytest.fixture
def run(execution_api, kernel_connection, kernel_emulator):
    def run(operator=KernelInvokeOperator, *, native=False, **arguments):
        with DAG(
            "d",
            schedule=None,
            start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
            render_template_as_native_obj=native,
            user_defined_macros=VALUES,
        ):
            task = operator(task_id="t", **(ECHO if operator is KernelInvokeOperator else {}), **arguments)
        return run_task(ti=task_instance(), task=task, client=execution_api.client())

    return run


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ("{{ none }}", "payload is the text of None"),
        ("{{ row }}", "payload is the text of a dict"),
        ({"items": [{"q": "{{ rows }}"}]}, "payload['items'][0]['q'] is the text of a list"),
        (
            {"a": "{{ numbers }}", "b": " {{ day }} "},
            "payload['a'] is the text of a list, payload['b'] is",
        ),
    ],
)
def test_whole_template_that_gives_the_text_of_a_value_fails_before_anything_is_sent(
    payload, says, run, kernel_emulator
):
    result = run(payload=payload)
    assert result.state == "failed"
    assert isinstance(result.error, AirflowFailException)
    assert f"KernelInvokeOperator t: {says}" in str(result.error)
    assert "task.output, or set render_template_as_native_obj=True" in str(result.error)
    assert kernel_emulator.journal == ()


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("the page {{ none }}", "payload['items'][0]['q'] holds the text of None"),
        ("found {{ row }}.", "payload['items'][0]['q'] holds the text of a dict"),
        ("{% if 1 %}{{ rows }}{% endif %}", "payload['items'][0]['q'] holds the text of a list"),
    ],
)
def test_text_of_a_value_among_other_text_is_sent_with_a_warning(template, says, run, kernel_emulator, caplog):
    caplog.set_level(logging.WARNING)
    assert run(payload={"items": [{"q": template}]}).state == "success"
    (record,) = [one for one in caplog.records if "a template makes text" in one.getMessage()]
    assert record.levelname == "WARNING"
    assert says in record.getMessage()
    assert "it's" not in record.getMessage(), "no value is logged"


@pytest.mark.parametrize(
    ("payload", "sent"),
    [
        ({"a": "None", "b": "{'q': 1}", "c": ["[1, 2]"]}, {"a": "None", "b": "{'q': 1}", "c": ["[1, 2]"]}),
        ("{{ row | tojson }}", '{"q": 1}'),
        ("{{ numbers | tojson }}", "[1, 2]"),
        ({"w": "{{ word }}", "o": "{{ none or '' }}"}, {"w": "None of them", "o": ""}),
        ("None or {{ '1' }}", "None or 1"),
    ],
    ids=["constants", "JSON of a dict", "JSON of a list", "words", "a constant beside a template"],
)
def test_text_that_is_meant_is_sent_as_it_is(payload, sent, run, kernel_emulator, caplog):
    assert run(payload=payload).state == "success"
    assert kernel_emulator.invocations[0].payload_json == sent
    if payload != {"w": "{{ word }}", "o": "{{ none or '' }}"}:
        assert "a template makes text" not in caplog.text


def test_native_rendering_and_output_send_the_value(run, kernel_emulator, execution_api):
    assert run(native=True, payload={"a": "{{ row }}", "b": "{{ none }}"}).state == "success"
    assert kernel_emulator.invocations[0].payload_json == {"a": {"q": 1}, "b": None}
    execution_api.other_xcoms = {("d", "r", "other", -1): {"return_value": "None"}}
    assert run(payload={"a": BaseOperator(task_id="other").output}).state == "success"


@pytest.mark.parametrize(
    ("operator", "arguments"),
    [(KernelCompleteInvocationOperator, {}), (KernelUpdateInvocationOperator, {"status": "failed"})],
)
def test_output_that_is_the_text_of_a_value_ends_no_invocation(operator, arguments, run, kernel_emulator):
    with KernelHook() as hook:
        waiting = hook.invoke("demo", "hang").id
    result = run(operator, invocation_id=waiting, invocation_output={"rows": "{{ rows }}"}, **arguments)
    assert result.state == "failed"
    assert f"{operator.__name__} t: invocation_output['rows'] is the text of a list" in str(result.error)
    assert kernel_emulator.requests("PATCH") == ()


def test_notifier_ends_the_invocation_as_failed_in_place_of_such_an_output(kernel_emulator, kernel_connection):
    with KernelHook() as hook:
        waiting = hook.invoke("demo", "hang").id
    KernelInvocationNotifier(status="succeeded", invocation_id=waiting, output={"a": "{{ row }}"})(
        {"row": {"q": 1}}
    )
    ended = kernel_emulator.invocation(waiting)
    assert ended.status == "failed"
    assert "output['a'] is the text of a dict" in ended.output_json["error"]
