"""Wrong arguments are refused when the DAG is parsed; what is known later is refused by the same rules."""

import math
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from airflow.sdk import DAG, BaseOperator, literal
from support.execution_api import task_instance
from support.in_process import run_task

from airflow_provider_kernel._compat import AirflowFailException
from airflow_provider_kernel.arguments import TABLE, arguments_of
from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.decorators.kernel_invocation import (
    KernelInvocationDecoratedOperator,
    kernel_invocation_task,
)
from airflow_provider_kernel.notifications.kernel import KernelInvocationNotifier
from airflow_provider_kernel.operators.browser import KernelBrowserTaskOperator
from airflow_provider_kernel.operators.invocation import (
    KernelCancelInvocationOperator,
    KernelCompleteInvocationOperator,
    KernelInvokeOperator,
    KernelUpdateInvocationOperator,
)
from airflow_provider_kernel.operators.invocation_task import KernelInvocationTaskOperator
from airflow_provider_kernel.operators.orphans import KernelCancelOrphansOperator
from airflow_provider_kernel.operators.playwright import KernelPlaywrightOperator
from airflow_provider_kernel.sensors.invocation import KernelInvocationSensor
from airflow_provider_kernel.triggers.finished import KernelInvocationFinishedTrigger

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "_ext"))
from code_facts import argument_defaults

#: What each class needs, and takes.
GOOD = {
    KernelInvokeOperator: {"task_id": "t", "app_name": "shop", "action_name": "buy"},
    KernelUpdateInvocationOperator: {"task_id": "t", "invocation_id": "inv", "status": "failed"},
    KernelCompleteInvocationOperator: {"task_id": "t", "invocation_id": "inv"},
    KernelCancelInvocationOperator: {"task_id": "t", "invocation_id": "inv"},
    KernelInvocationTaskOperator: {"task_id": "t", "python_callable": len},
    KernelCancelOrphansOperator: {"task_id": "t", "app_name": "shop"},
    KernelBrowserTaskOperator: {"task_id": "t", "python_callable": len},
    KernelPlaywrightOperator: {"task_id": "t", "code": "return 1"},
    KernelInvocationSensor: {"task_id": "t", "invocation_id": "inv"},
    KernelInvocationNotifier: {},
    KernelInvocationFinishedTrigger: {},
}
#: A wrong value of each argument, and what the error says.
WRONG = {
    "app_name": [("", "it must be a name, and not empty"), (5, "it must be a name")],
    "action_name": [("", "it must be a name, and not empty"), (["buy"], "it must be a name")],
    "version": [(1.1, "it must be a name"), ("None", "a template probably found no value")],
    "payload": [({"a": [1, math.nan]}, "payload['a'][1] cannot be written as JSON: nan is not a JSON number")],
    "invocation_output": [({"a": math.inf}, "invocation_output['a'] cannot be written as JSON: inf")],
    "output": [([-math.inf], "output[0] cannot be written as JSON: -inf"), ({"a": b""}, "a value of type bytes")],
    "async_timeout_seconds": [
        (-5, "Kernel takes whole seconds from 10 to 3600, or None"),
        ("60", "Kernel takes whole seconds from 10 to 3600, or None. Write 60, without quotes"),
        ("{{ 60 }}", "It is not templated: give a constant"),
        (timedelta(minutes=2), "Write its seconds, 120"),
    ],
    "wait_for_completion": [("yes", "it takes True or False")],
    "deferrable": [("True", "it takes True or False. Write True, without quotes"), (1, "it takes True or False")],
    "poll_interval": [(0, "it takes seconds above 0"), (timedelta(seconds=5), "Write its seconds, 5")],
    "stream_logs": [("no", "it takes True or False")],
    "max_log_lines": [(1.5, "it takes a whole number from 0")],
    "cancel_on_kill": [(None, "it takes True or False")],
    "durable": [("off", "it takes True or False")],
    "correlation_key": [("", "it takes text that is not empty")],
    "max_output_bytes": [(-1, "it takes a whole number from 0"), (True, "it takes a whole number from 0")],
    "output_as": [("json", "it takes 'value' or 'json_text'")],
    "live_view_link": [("yes", "it takes True or False")],
    "kernel_conn_id": [("", "it must be a name"), (None, "it must be a name")],
    "invocation_id": [
        (None, "it takes the id of an invocation, or where to take it from"),
        ("a/b", "it has a slash or is a path, not one id"),
        (["a", "b"], "it takes one id. Map the task: .expand(invocation_id=...)"),
    ],
    "if_finished": [("explode", "it takes 'skip', 'fail' or 'ignore', or None")],
    "if_missing": [("ignore", "it takes 'skip' or 'fail'"), (None, "it takes 'skip' or 'fail'")],
    "status": [("done", "'succeeded' or 'failed'"), (True, "'succeeded' or 'failed'")],
    "reason": [(5, "it takes text")],
    "include_traceback": [("yes", "it takes True or False")],
    "dag_ids": [("etl", "is the text 'etl'; give a list, such as ['etl']"), ([1], "it takes a list of texts")],
    "dry_run_only": [("no", "it takes True or False")],
    "what": [
        ("browsers", "it takes a list with one or more of 'invocations', 'browsers'"),
        (["leases"], "it takes a list with one or more of 'invocations', 'browsers'"),
        ([], "it takes a list with one or more of 'invocations', 'browsers'"),
    ],
    "code": [("", "it takes text that can be sent as UTF-8"), (5, "it takes text that can be sent as UTF-8")],
    "args": [
        ({"a": math.nan}, "args['a'] cannot be written as JSON: nan is not a JSON number"),
        ({"a": ["\ud83d"]}, "args holds half of a surrogate pair"),
    ],
    "timeout": [(301, "whole seconds from 1 to 300"), (0, "whole seconds from 1 to 300")],
    "headless": [("no", "it takes True or False")],
    "stealth": [("no", "it takes True or False")],
    "profile": [("a b", "it takes a name"), ({"name": "a", "id": "b"}, "it takes a name")],
    "save_profile": [("no", "it takes True or False")],
    "proxy": [({"mode": "fast"}, 'it takes a name, {"id": "..."}, or {"mode": "direct"}')],
    "viewport": [((1280, 0), "it takes (width, height) in pixels")],
    "extensions": [("one", 'it takes a list of names or {"id": "..."}')],
    "region": [("mars", "it takes one of us-east")],
    "start_url": [("", "it takes an address")],
    "allowed_hosts": [("*.example.com", "it takes a list of hosts")],
    "idle_timeout": [(9, "it takes whole seconds from 10 to 259200, or a timedelta")],
    "tags": [({"a,b": "c"}, "keys take 1 to 128"), ({"airflow_dag": "mine"}, "airflow_")],
    "start_timeout": [(-1, "it takes seconds from 0, or a timedelta")],
    "since": [("yesterday", "it takes a duration such as '2h'"), (2, "it takes a duration such as '2h'")],
    "output_from": [("", "it must be a name, and not empty, or None")],
}
#: Airflow's own classes check these.
OF_AIRFLOW = {"context", "op_args", "op_kwargs", "python_callable"}
CASES = [
    pytest.param(cls, name, value, words, id=f"{cls.__name__} {name} {value!r}"[:90])
    for cls in GOOD
    for name in arguments_of(cls).checks
    for value, words in WRONG.get(name, [])
]


def refusal(make, *, error=KernelInputError):
    with pytest.raises(error) as caught:
        make()
    return str(caught.value)


@pytest.mark.parametrize("cls", [*GOOD, KernelInvocationDecoratedOperator])
def test_each_argument_has_a_row_and_a_case(cls):
    own = set(argument_defaults(cls))
    assert own | OF_AIRFLOW == {*arguments_of(cls).checks, *OF_AIRFLOW}
    assert own - OF_AIRFLOW <= set(WRONG)


def test_each_row_is_of_a_class():
    assert set(TABLE) == {cls.__name__ for cls in GOOD}


@pytest.mark.parametrize("cls", GOOD)
def test_default_arguments_are_taken(cls):
    cls(**GOOD[cls])


@pytest.mark.parametrize(("cls", "name", "value", "words"), CASES)
def test_wrong_constant_is_refused_when_the_dag_is_parsed(cls, name, value, words):
    message = refusal(lambda: cls(**{**GOOD[cls], name: value}))
    who = f"{cls.__name__} t" if "task_id" in GOOD[cls] else cls.__name__
    assert message.startswith(f"{who}: {name}")
    assert words in message


@pytest.mark.parametrize(
    ("cls", "given", "words"),
    [
        (KernelInvokeOperator, {"correlation_key": "k", "payload": [1]}, "one is of type list"),
        (KernelInvokeOperator, {"correlation_key": "k", "payload": {"k": 1}}, "one that has a 'k' already"),
        (
            KernelInvokeOperator,
            {"wait_for_completion": False, "deferrable": True},
            "deferrable=True needs wait_for_completion=True",
        ),
        (
            KernelInvokeOperator,
            {"wait_for_completion": False, "multiple_outputs": True},
            "multiple_outputs=True needs wait_for_completion=True",
        ),
        (
            KernelInvocationSensor,
            {"output_as": "json_text", "multiple_outputs": True},
            "multiple_outputs=True needs output_as='value'",
        ),
        (KernelCancelInvocationOperator, {"multiple_outputs": True}, "this one returns a status"),
        (KernelCancelOrphansOperator, {"multiple_outputs": True}, "this one returns a list"),
        (KernelInvocationNotifier, {"output": 1, "output_from": "t"}, "both output and output_from are given"),
    ],
)
def test_arguments_that_exclude_each_other_are_refused(cls, given, words):
    assert words in refusal(lambda: cls(**GOOD[cls], **given))


def test_deferrable_of_all_tasks_is_no_conflict_with_one_that_does_not_wait(monkeypatch):
    start = {**GOOD[KernelInvokeOperator], "wait_for_completion": False}
    KernelInvokeOperator(**start, default_args={"deferrable": True})
    with DAG("d", schedule=None, default_args={"deferrable": True}):
        KernelInvokeOperator(**start)
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "True")
    KernelInvokeOperator(**start, deferrable=True)


def test_wrong_value_in_default_args_is_refused():
    default_args = {"poll_interval": -1, "retries": 2}
    with DAG("d", schedule=None, default_args=default_args):
        message = refusal(lambda: KernelInvokeOperator(**GOOD[KernelInvokeOperator]))
    assert "poll_interval is -1; it takes seconds above 0" in message


@pytest.mark.parametrize("cls", [cls for cls in GOOD if issubclass(cls, BaseOperator)])
def test_what_is_known_later_is_left_to_the_task(cls):
    with DAG("d", schedule=None):
        other = BaseOperator(task_id="other").output
        for name in set(cls.template_fields) - OF_AIRFLOW - {"templates_dict"}:
            for number, later in enumerate(("{{ params.x }}", "{% if a %}b{% endif %}", other)):
                if name == "dag_ids" and isinstance(later, str):
                    continue
                cls(**{**GOOD[cls], "task_id": f"{name}{number}", name: later})


def test_template_with_the_marks_of_its_dag_is_left_to_the_task():
    with DAG("d", schedule=None, jinja_environment_kwargs={"variable_start_string": "<<"}):
        KernelUpdateInvocationOperator(task_id="t", invocation_id="<< a/b >>", status="<< x >>")
    assert "status is '<< x >>'" in refusal(
        lambda: KernelUpdateInvocationOperator(task_id="t", invocation_id="i", status="<< x >>")
    )


def test_constants_beside_what_is_known_later_are_checked():
    with DAG("d", schedule=None):
        payload = {"page": BaseOperator(task_id="other").output, "url": "{{ ds }}", "rate": [math.nan]}
        message = refusal(lambda: KernelInvokeOperator(**GOOD[KernelInvokeOperator], payload=payload))
        assert "payload['rate'][0] cannot be written as JSON: nan is not a JSON number" in message
        payload["rate"] = [1.5]
        KernelInvokeOperator(**{**GOOD[KernelInvokeOperator], "task_id": "u"}, payload=payload)


def test_constant_that_names_no_invocation_is_taken_where_that_is_in_order():
    KernelCancelInvocationOperator(task_id="t", invocation_id=None, if_missing="skip")


class TestMappedTasks:
    def test_constants_are_checked_when_the_dag_is_parsed(self):
        partial = {**GOOD[KernelInvokeOperator], "max_output_bytes": -1}
        assert "KernelInvokeOperator t: max_output_bytes is -1" in refusal(
            lambda: KernelInvokeOperator.partial(**partial)
        )
        with pytest.raises(KernelInputError, match="max_output_bytes is -1"):
            kernel_invocation_task(max_output_bytes=-1)

    def test_task_itself_has_no_partial(self):
        with pytest.raises(TypeError, match="partial can only be called on Operator classes"):
            KernelInvokeOperator(**GOOD[KernelInvokeOperator]).partial(task_id="u")

    def test_mapped_value_that_cannot_work_fails_its_task_without_a_retry(
        self, execution_api, kernel_connection, kernel_emulator
    ):
        with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):
            mapped = KernelInvokeOperator.partial(**GOOD[KernelInvokeOperator], retries=2).expand(
                async_timeout_seconds=[-5]
            )
        result = run_task(ti=task_instance(map_index=0), task=mapped, client=execution_api.client())
        assert result.state == "failed"
        assert isinstance(result.error, AirflowFailException)
        assert "KernelInvokeOperator t: async_timeout_seconds is -5" in str(result.error)
        assert kernel_emulator.journal == ()


def test_class_of_a_user_is_checked_as_what_it_is_derived_from():
    class ShopOperator(KernelInvokeOperator):
        def __init__(self, **kwargs):
            super().__init__(app_name="shop", action_name="buy", **kwargs)

    assert refusal(lambda: ShopOperator(task_id="t", poll_interval=0)).startswith("ShopOperator t: poll_interval")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_number_that_json_lacks_in_a_rendered_payload_fails_before_airflow_stores_it(value, run, kernel_emulator):
    result = run(KernelInvokeOperator, app_name="demo", action_name="echo", payload={"a": literal([value])})
    assert result.state == "failed"
    assert isinstance(result.error, AirflowFailException)
    assert f"KernelInvokeOperator t: payload['a'][0] cannot be written as JSON: {value}" in str(result.error)
    assert kernel_emulator.journal == ()


@pytest.mark.parametrize("make", [KernelInvokeOperator, KernelInvokeOperator.partial])
def test_error_names_the_line_of_the_dag_file(make, tmp_path):
    """Of an import error, Airflow shows the last two frames, which are the package's."""
    file = tmp_path / "shop_dag.py"
    file.write_text("\n\nmake(task_id='t', app_name='', action_name='buy')\n")
    with pytest.raises(KernelInputError) as caught, DAG("d"):
        exec(compile(file.read_text(), str(file), "exec"), {"make": make})  # noqa: S102
    assert str(caught.value).endswith("(shop_dag.py, line 3)")
