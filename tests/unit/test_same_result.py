"""Whichever way a task waits for an invocation, it ends in the same way: same value, same XCom, same error."""

import pytest

from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationFailedError
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
WAYS = ["blocking", "deferred", "sensor", "deferred sensor"]


@pytest.fixture
def end_with(kernel_emulator, kernel_connection, make_task, execution_api, monkeypatch):
    """Have an invocation end in some way, wait for it in some way, and tell how the task ended."""
    monkeypatch.setattr("airflow_provider_kernel.operators.invocation.FIRST_POLL_SECONDS", 0.02)

    def act(ctx):
        ctx.wait()

    kernel_emulator.register("app", "act", act)

    def end_with(way, status, output):
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
            )
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
            )
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
    causes = [result.error if way < 2 else result.error.__cause__ for way, (result, _) in enumerate(ends)]
    assert all(isinstance(cause, KernelInvocationFailedError) for cause in causes)
    assert len({str(cause).replace(cause.invocation.id, "ID") for cause in causes}) == 1
    assert all(cause.invocation.output == output for cause in causes)
    assert all(returned == "nothing" for _, returned in ends)
