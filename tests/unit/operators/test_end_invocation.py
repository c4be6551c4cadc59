"""The operators that end an invocation which another task or program started."""

import pytest
from airflow.sdk import DAG, literal
from support.execution_api import task_instance
from support.in_process import run_task

from airflow_provider_kernel.client.errors import KernelInputError, KernelNotFoundError
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationFinishedError
from airflow_provider_kernel.client.unset import UNSET
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.operators.invocation import (
    KernelCancelInvocationOperator,
    KernelCompleteInvocationOperator,
    KernelUpdateInvocationOperator,
)
from airflow_provider_kernel.testing import Fault

OPERATORS = {
    "complete": (KernelCompleteInvocationOperator, {"invocation_output": 1}, "succeeded"),
    "cancel": (KernelCancelInvocationOperator, {"reason": "no longer wanted"}, "failed"),
    "update to succeeded": (KernelUpdateInvocationOperator, {"status": "succeeded"}, "succeeded"),
    "update to failed": (KernelUpdateInvocationOperator, {"status": "failed"}, "failed"),
}
OTHER = {"succeeded": "failed", "failed": "succeeded"}
each_operator = pytest.mark.parametrize(
    ("operator", "arguments", "wanted"), OPERATORS.values(), ids=list(OPERATORS)
)


@pytest.fixture
def invocation_id(kernel_emulator, kernel_connection):
    """An invocation that runs and holds a browser."""
    with KernelHook() as hook:
        started = hook.invoke("demo", "browsers", {"count": 1, "seconds": 600})
    kernel_emulator.wait_until(lambda: kernel_emulator.invocation(started.id).browsers == 1)
    return started.id


@each_operator
def test_operator_ends_the_invocation_and_its_browsers(
    operator, arguments, wanted, run, execution_api, kernel_emulator, invocation_id
):
    result = run(operator, invocation_id=invocation_id, **arguments)
    invocation = kernel_emulator.invocation(invocation_id)
    assert result.state == "success"
    assert execution_api.xcoms["return_value"] == wanted
    assert invocation.status == wanted
    assert invocation.browsers == 0


@pytest.mark.parametrize(
    ("output", "sent"),
    [
        ({"a": 1}, '{"a": 1}'),
        ([], "[]"),
        ("x", '"x"'),
        (0, "0"),
        (False, "false"),
        (None, "null"),
        ({"größe": ["日本", {"🎯": None}]}, '{"größe": ["日本", {"🎯": null}]}'),
    ],
    ids=repr,
)
@pytest.mark.parametrize("operator", ["complete", "update to succeeded"])
def test_invocation_output_is_sent_as_a_json_string(operator, output, sent, run, kernel_emulator, invocation_id):
    operator, arguments, _ = OPERATORS[operator]
    result = run(operator, invocation_id=invocation_id, **{**arguments, "invocation_output": output})
    assert result.state == "success"
    (patch,) = kernel_emulator.requests("PATCH", "/invocations/*")
    assert patch.json == {"status": "succeeded", "output": sent}
    assert kernel_emulator.invocation(invocation_id).output == sent


def test_complete_without_an_output_sends_none(run, kernel_emulator, invocation_id):
    run(KernelCompleteInvocationOperator, invocation_id=invocation_id)
    (patch,) = kernel_emulator.requests("PATCH", "/invocations/*")
    assert patch.json == {"status": "succeeded"}


def test_cancel_writes_the_reason_into_the_output(run, kernel_emulator, invocation_id):
    run(KernelCancelInvocationOperator, invocation_id=invocation_id, reason="order {{ run_id }} was withdrawn")
    assert kernel_emulator.invocation(invocation_id).output_json == {"error": "order r was withdrawn"}


def test_invocation_id_and_output_are_templates(run, execution_api, kernel_emulator, invocation_id):
    execution_api.xcoms["invocation_id"] = invocation_id
    run(
        KernelCompleteInvocationOperator,
        invocation_id="{{ ti.xcom_pull(task_ids='t', key='invocation_id') }}",
        invocation_output={"by": "{{ run_id }}"},
    )
    assert kernel_emulator.invocation(invocation_id).output_json == {"by": "r"}


@each_operator
@pytest.mark.parametrize("if_finished", [None, "ignore", "skip", "fail"])
@pytest.mark.parametrize("as_wanted", [True, False], ids=["as wanted", "the other way"])
def test_if_finished_decides_about_an_invocation_that_has_ended(
    if_finished,
    as_wanted,
    operator,
    arguments,
    wanted,
    run,
    execution_api,
    kernel_emulator,
    invocation_id,
):
    status = wanted if as_wanted else OTHER[wanted]
    kernel_emulator.finish(invocation_id, status, {"the": "result"})
    result = run(operator, invocation_id=invocation_id, if_finished=if_finished, **arguments)

    decision = if_finished or ("ignore" if as_wanted else "fail")
    assert result.state == {"ignore": "success", "skip": "skipped", "fail": "failed"}[decision]
    if decision == "ignore":
        assert execution_api.xcoms["return_value"] == status
    if decision == "fail":
        assert isinstance(result.error.kernel_error, KernelInvocationFinishedError)
        assert f"already ended as {status}" in str(result.error)


@each_operator
def test_result_of_an_invocation_that_has_ended_is_not_overwritten(
    operator, arguments, wanted, run, kernel_emulator, invocation_id
):
    kernel_emulator.switches.patch_on_finished = "overwrite"
    kernel_emulator.finish(invocation_id, OTHER[wanted], {"the": "result"})
    run(operator, invocation_id=invocation_id, if_finished="ignore", **arguments)
    assert kernel_emulator.requests("PATCH") == ()
    assert kernel_emulator.invocation(invocation_id).output_json == {"the": "result"}


@each_operator
@pytest.mark.parametrize("answer", ["unchanged", 400, 404, 409])
def test_invocation_that_ends_between_fetch_and_update_keeps_its_result(
    answer, operator, arguments, wanted, run, kernel_emulator, invocation_id
):
    kernel_emulator.switches.patch_on_finished = answer
    kernel_emulator.add_fault(Fault("GET", "/invocations/*", body={"id": "x", "status": "running"}))
    kernel_emulator.finish(invocation_id, OTHER[wanted], {"the": "result"})
    if operator is KernelCancelInvocationOperator:
        # A cancel fetches it once more by itself.
        kernel_emulator.add_fault(Fault("GET", "/invocations/*", nth=(2,), body={"id": "x", "status": "running"}))
    result = run(operator, invocation_id=invocation_id, if_finished="skip", **arguments)
    assert result.state == "skipped"
    assert kernel_emulator.invocation(invocation_id).output_json == {"the": "result"}


@each_operator
@pytest.mark.parametrize("answer", ["unchanged", "overwrite", 400, 404, 409])
def test_update_whose_answer_is_lost_is_a_success(
    answer, operator, arguments, wanted, run, kernel_emulator, invocation_id
):
    kernel_emulator.switches.patch_on_finished = answer
    kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", drop="after"))
    result = run(operator, invocation_id=invocation_id, **arguments)
    assert result.state == "success"
    assert kernel_emulator.invocation(invocation_id).status == wanted


MISSING = {
    "None": literal(None),
    "empty": literal(""),
    "a template": "{{ ti.xcom_pull(task_ids='setup') }}",
    "an empty template": "{{ '' }}",
}
each_missing = pytest.mark.parametrize("missing", MISSING.values(), ids=list(MISSING))


@each_operator
@each_missing
def test_missing_id_fails_the_task_without_a_retry_and_says_how_to_allow_it(
    missing, operator, arguments, wanted, run, kernel_emulator
):
    result = run(operator, invocation_id=missing, **arguments)
    assert result.state == "failed"
    assert isinstance(result.error.kernel_error, KernelInputError)
    assert "there is no invocation to end. The task that was to give the id failed or was skipped" in str(
        result.error
    )
    assert "set if_missing='skip'" in str(result.error)
    assert kernel_emulator.journal == ()


@each_operator
@each_missing
def test_missing_id_skips_the_task_if_that_is_allowed(missing, operator, arguments, wanted, run, kernel_emulator):
    result = run(operator, invocation_id=missing, if_missing="skip", **arguments)
    assert result.state == "skipped"
    assert kernel_emulator.journal == ()


@each_operator
def test_missing_id_of_a_native_template_skips_the_task(
    operator, arguments, wanted, execution_api, kernel_connection
):
    with DAG("d", schedule=None, render_template_as_native_obj=True):
        task = operator(
            task_id="t", invocation_id="{{ ti.xcom_pull(task_ids='s') }}", if_missing="skip", **arguments
        )
    assert run_task(ti=task_instance(), task=task, client=execution_api.client()).state == "skipped"


@each_operator
@pytest.mark.parametrize("if_missing", ["skip", "fail"])
@pytest.mark.parametrize("several", [["a", "b"], [], [None]], ids=repr)
def test_several_ids_fail_the_task_and_name_expand(several, if_missing, operator, arguments, wanted, run):
    result = run(operator, invocation_id=literal(several), if_missing=if_missing, **arguments)
    assert result.state == "failed"
    assert "map this one: .expand(invocation_id=...)" in str(result.error)


@each_operator
def test_invocation_that_kernel_does_not_know_counts_as_missing(
    operator, arguments, wanted, run, kernel_emulator, monkeypatch
):
    monkeypatch.setattr("airflow_provider_kernel.client.outage.NOT_FOUND_GRACE_SECONDS", 0.5)
    assert run(operator, invocation_id="nonexistent", if_missing="skip", **arguments).state == "skipped"
    assert len(kernel_emulator.requests("GET", "/invocations/nonexistent")) > 1
    result = run(operator, invocation_id="nonexistent", **arguments)
    assert result.state == "failed"
    assert "set if_missing='skip'" in str(result.error)


@each_operator
def test_new_invocation_that_kernel_does_not_find_at_first_is_not_skipped(
    operator, arguments, wanted, run, kernel_emulator, invocation_id
):
    not_found = {"code": "not_found", "message": "invocation not found"}
    kernel_emulator.add_fault(Fault("GET", "/invocations/*", nth=1, status=404, body=not_found))
    assert run(operator, invocation_id=invocation_id, if_missing="skip", **arguments).state == "success"
    assert kernel_emulator.invocation(invocation_id).status == wanted


@each_operator
@pytest.mark.parametrize(
    "answer",
    [
        {"status": 404, "body": "<html>no such page</html>"},
        {"status": 404, "body": {"code": "project_not_found", "message": "no such project"}},
        {"status": 403},
        {"status": 401},
    ],
    ids=["proxy", "project", "403", "401"],
)
def test_answer_that_says_nothing_about_the_invocation_is_no_reason_to_skip(
    answer, operator, arguments, wanted, run, kernel_emulator, invocation_id
):
    kernel_emulator.add_fault(Fault("GET", "/invocations/*", nth=None, **answer))
    assert run(operator, invocation_id=invocation_id, if_missing="skip", **arguments).state == "failed"


@each_operator
def test_unknown_invocation_fails_the_task_without_a_retry(operator, arguments, wanted, run, kernel_emulator):
    result = run(operator, invocation_id="nonexistent", **arguments)
    assert result.state == "failed"
    assert isinstance(result.error.kernel_error, KernelNotFoundError)


@each_operator
@pytest.mark.parametrize("bad", ["{{ none }}", "", "a/b", "../apps", "a\nb"])
def test_malformed_invocation_id_is_refused_before_anything_is_sent(
    bad, operator, arguments, wanted, run, kernel_emulator
):
    result = run(operator, invocation_id=literal(bad) if "{" not in bad else bad, **arguments)
    assert result.state == "failed"
    assert isinstance(result.error.kernel_error, KernelInputError)
    assert kernel_emulator.journal == ()


def test_update_refuses_a_status_that_is_not_final(run, kernel_emulator, invocation_id):
    result = run(KernelUpdateInvocationOperator, invocation_id=invocation_id, status="{{ 'done' }}")
    assert result.state == "failed"
    assert "'succeeded' or 'failed'" in str(result.error)
    assert kernel_emulator.requests("PATCH") == ()


def test_argument_output_is_refused():
    with pytest.raises(KernelInputError, match="invocation_output"):
        KernelCompleteInvocationOperator(task_id="t", invocation_id="x", output=1)


def test_output_of_the_operator_is_the_reference_to_its_xcom():
    task = KernelCompleteInvocationOperator(task_id="t", invocation_id="x", invocation_output={"a": 1})
    assert task.output.operator is task


def test_unset_has_a_name_in_the_ui():
    assert repr(UNSET) == "UNSET"


@each_operator
def test_operator_that_returns_a_status_refuses_multiple_outputs(operator, arguments, wanted):
    with pytest.raises(KernelInputError, match="needs a task that returns a dict; this one returns a status"):
        operator(task_id="t", invocation_id="i", multiple_outputs=True, **arguments)
    # Airflow pushes nothing then.
    operator(task_id="t", invocation_id="i", multiple_outputs=True, do_xcom_push=False, **arguments)
