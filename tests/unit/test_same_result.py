"""Whichever way a task waits for an invocation, it ends in the same way: same value, same XCom, same error."""

import pytest
from airflow.providers.standard.operators.bash import BashOperator

from airflow_provider_kernel.client.resources.invocations.errors import (
    KernelInvocationFailedError,
    KernelOutputError,
)
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.operators.invocation import KernelInvokeOperator
from airflow_provider_kernel.sensors.invocation import KernelInvocationSensor

OUTPUTS = {
    "absent": None,
    "null": "null",
    "empty": "",
    "scalar": "0",
    "false": "false",
    "object": '{"a": [1, null, "ü"]}',
    "text": "plain text, not {json",
    "not quite JSON": "NaN",
    "1 MB": '"' + "x" * 1_000_000 + '"',
}
#: What XCom would change or refuse.
UNFIT = {
    "an object of Python": '{"a": {"__type": "airflow.sdk.io.path.ObjectStoragePath", "__var": {"path": "file:///x"}}}',
    "half a surrogate pair": r'{"a": "\ud800"}',
    "a large integer": '{"a": 18446744073709551616}',
    "NUL": r'{"a": "\u0000"}',
    "deep": '{"a": ' + "[" * 90 + "]" * 90 + "}",
}
WAYS = ["blocking", "deferred", "sensor", "deferred sensor"]


@pytest.fixture
def end_with(kernel_emulator, kernel_connection, make_task, execution_api, monkeypatch):
    """Have an invocation end in some way, wait for it in some way, and tell how the task ended."""
    monkeypatch.setattr("airflow_provider_kernel.operators.invocation.FIRST_POLL_SECONDS", 0.02)

    def act(ctx):
        ctx.wait()

    kernel_emulator.register("app", "act", act)

    def end_with(way, status, output, *, prepare=lambda task: None, **arguments):
        def finish(invocation_id):
            kernel_emulator.finish(invocation_id, status, **({} if output is None else {"raw_output": output}))

        execution_api.xcoms.clear()
        execution_api.next_method = execution_api.next_kwargs = None
        if way in ("blocking", "deferred"):
            task = make_task(
                KernelInvokeOperator,
                app_name="app",
                action_name="act",
                deferrable=way == "deferred",
                poll_interval=0.01,
                **arguments,
            )
            prepare(task.task)
            if way == "blocking":
                execution_api.hold = lambda method, path: (
                    finish(kernel_emulator.invocations[-1].id) if path.endswith("/invocation_id") else None
                )
                result = task.run()
                execution_api.hold = lambda method, path: None
            else:
                result = task.run()
                finish(kernel_emulator.invocations[-1].id)
        else:
            with KernelHook() as hook:
                invocation_id = hook.invoke("app", "act").id
            task = make_task(
                KernelInvocationSensor,
                invocation_id=invocation_id,
                poke_interval=0.01,
                deferrable=way == "deferred sensor",
                **arguments,
            )
            prepare(task.task)
            if way == "sensor":
                finish(invocation_id)
                result = task.run()
            else:
                result = task.run()
                finish(invocation_id)
        if way.startswith("deferred"):
            assert result.state == "deferred"
            result = task.resume("execute_complete", event=task.trigger_event(result))
        return result, execution_api.xcoms.get("return_value", "nothing")

    return end_with


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=list(OUTPUTS))
def test_a_success(output, end_with):
    ends = [end_with(way, "succeeded", output) for way in WAYS]
    assert [result.state for result, _ in ends] == ["success"] * len(WAYS)
    first = ends[0][1]
    assert all(returned == first for _, returned in ends)
    assert all(type(returned) is type(first) for _, returned in ends)


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=list(OUTPUTS))
def test_a_failure(output, end_with):
    ends = [end_with(way, "failed", output) for way in WAYS]
    # The sensor's invocation stays failed, however often it is tried again; the operator's next try starts another.
    assert [result.state for result, _ in ends] == ["up_for_retry", "up_for_retry", "failed", "failed"]
    causes = [result.error if way < 2 else result.error.kernel_error for way, (result, _) in enumerate(ends)]
    assert all(isinstance(cause, KernelInvocationFailedError) for cause in causes)
    assert len({str(cause).replace(cause.invocation.id, "ID") for cause in causes}) == 1
    assert all(cause.invocation.output == output for cause in causes)
    assert all(returned == "nothing" for _, returned in ends)


@pytest.mark.parametrize("output", UNFIT.values(), ids=list(UNFIT))
def test_output_that_xcom_cannot_hold_fails_the_task_for_good_and_cancels_nothing(
    output, end_with, kernel_emulator
):
    ends = [end_with(way, "succeeded", output) for way in WAYS]
    assert [result.state for result, _ in ends] == ["failed"] * len(WAYS)  # though each has a retry left
    assert all(isinstance(result.error.kernel_error, KernelOutputError) for result, _ in ends)
    assert all("$.a" in str(result.error) for result, _ in ends)
    assert all(returned == "nothing" for _, returned in ends)
    assert kernel_emulator.requests("PATCH") == ()


@pytest.mark.parametrize("output", UNFIT.values(), ids=list(UNFIT))
def test_output_that_xcom_cannot_hold_is_handed_on_as_json_text(output, end_with):
    ends = [end_with(way, "succeeded", output, output_as="json_text") for way in WAYS]
    assert [result.state for result, _ in ends] == ["success"] * len(WAYS)
    assert [returned for _, returned in ends] == [output] * len(WAYS)


def test_output_of_multiple_outputs_cannot_overwrite_what_the_task_owns(end_with, execution_api):
    for way in WAYS:
        output = (
            '{"city": "Lisbon", "invocation_id": "another", "_link_KernelDashboardLink": "javascript:alert(1)"}'
        )
        result, returned = end_with(way, "succeeded", output, multiple_outputs=True)
        assert result.state == "failed"
        assert "$.invocation_id is an XCom key that belongs to the task itself" in str(result.error)
        assert returned == "nothing"
        assert execution_api.xcoms.get("invocation_id") != "another"
        assert "_link_KernelDashboardLink" not in execution_api.xcoms
        assert "city" not in execution_api.xcoms


def map_over(task):
    with task.dag:
        BashOperator.partial(task_id="mapped", bash_command="true").expand(env=task.output)


@pytest.mark.parametrize(
    ("output", "arguments", "problem"),
    [
        ("0", {}, "is of type int"),
        (None, {}, "is of type NoneType"),
        ("[]", {"output_as": "json_text"}, "is of type str"),
        ("[]", {"do_xcom_push": False}, "is not pushed (do_xcom_push=False)"),
    ],
)
def test_output_that_airflow_cannot_map_over_fails_the_task_for_good(output, arguments, problem, end_with):
    for way in WAYS:
        result, returned = end_with(way, "succeeded", output, prepare=map_over, **arguments)
        assert result.state == "failed"  # though it has a retry left
        assert f"$ {problem}, and a task is mapped over it" in str(result.error)
        assert returned == "nothing"


@pytest.mark.parametrize("output", ["[]", '{"a": 1}'])
def test_output_that_airflow_can_map_over_is_handed_on(output, end_with):
    ends = [end_with(way, "succeeded", output, prepare=map_over) for way in WAYS]
    assert [result.state for result, _ in ends] == ["success"] * len(WAYS)
