"""KernelPlaywrightOperator: a script in the machine of a browser of its own."""

import json
import subprocess
import threading
import time

import pytest
from airflow.sdk import literal

from airflow_provider_kernel.client.errors import KernelInputError, KernelTaskKilledError
from airflow_provider_kernel.client.resources.browsers.errors import KernelBrowserLimitError, KernelScriptError
from airflow_provider_kernel.client.resources.invocations.errors import KernelOutputError, KernelOutputTooLargeError
from airflow_provider_kernel.operators.playwright import KernelPlaywrightOperator
from airflow_provider_kernel.testing import Fault

EXECUTE = "/browsers/*/playwright/execute"
#: What breaks out of a string, a script or a line wherever values are pasted into code.
AWKWARD = [
    "it's",
    'a "quoted" word',
    "`${process.exit(1)}`",
    "${args}",
    "back\\slash \\u0041 \\n",
    "line\nbreak\r\n",
    "\u2028 and \u2029",
    "</script><!--",
    "{{ not_a_template }}",
    "*/ // /*",
    "\U0001f600",
    "\x00\x7f",
    {"__proto__": {"polluted": True}, "constructor": 1, "": None},
    [1, -0.5, 1e300, True, None, [], {}],
]


def node():
    """Return the JavaScript engine that Playwright brings, or that of the machine."""
    from airflow_provider_kernel.testing.resources.browsers.scripts import MissingPlaywrightError, find_driver

    try:
        return str(find_driver() / "node")
    except MissingPlaywrightError:
        return "node"


def value_in_javascript(script):
    """Return what a script that ends in ``return`` returns, as JSON."""
    program = f"process.stdout.write(JSON.stringify((function () {{{script}\n}})()))"
    done = subprocess.run([node(), "-"], input=program.encode(), capture_output=True, check=True)
    return json.loads(done.stdout)


@pytest.fixture
def answers(kernel_emulator):
    """Let the machine of every browser answer a script with this."""

    def answer(**result):
        body = {"success": True, **result}
        kernel_emulator.add_fault(Fault("POST", EXECUTE, nth=None, body=body))

    return answer


def script_of(kernel):
    (request,) = kernel.requests("POST", EXECUTE)
    return request.json["code"]


def active(kernel):
    return [browser for browser in kernel.browsers if browser.is_active]


def test_result_of_the_script_is_that_of_the_task_and_the_browser_is_gone(
    run, kernel_emulator, answers, execution_api
):
    answers(result={"rows": [1, 2]})
    result = run(KernelPlaywrightOperator, code="return {rows: [1, 2]}")
    assert result.state == "success", result.error
    assert execution_api.xcoms["return_value"] == {"rows": [1, 2]}
    (browser,) = kernel_emulator.browsers
    assert browser.end_cause == "deleted"
    assert execution_api.xcoms["browser_id"] == browser.session_id


@pytest.mark.parametrize("value", AWKWARD, ids=str)
def test_args_reach_the_script_as_they_are(value, run, kernel_emulator, answers):
    answers()
    given = literal(value) if isinstance(value, str) else value
    assert run(KernelPlaywrightOperator, code="return args", args=given).state == "success"
    assert value_in_javascript(script_of(kernel_emulator)) == value


def test_args_stand_in_front_of_the_first_line_so_that_line_numbers_stay(run, kernel_emulator, answers):
    answers()
    code = "const a = 1;\nthrow new Error('in line 2')"
    run(KernelPlaywrightOperator, code=code, args={"url": "a\nb\u2028c"})
    script = script_of(kernel_emulator)
    assert script.endswith(code)
    assert script.splitlines()[1] == code.splitlines()[1]
    assert script.isascii()


def test_script_without_args_is_sent_as_it_is(run, kernel_emulator, answers):
    answers()
    run(KernelPlaywrightOperator, code="return 1")
    assert script_of(kernel_emulator) == "return 1"


@pytest.mark.parametrize("expression", ["'\\ud83d'", "{'text': ['\\udc00']}", "{'\\ud800': 1}"])
def test_args_with_half_a_surrogate_pair_fail_the_task_before_there_is_a_browser(
    expression, make_task, kernel_emulator
):
    task = make_task(KernelPlaywrightOperator, code="return args", args=f"{{{{ {expression} }}}}")
    task.task.dag.render_template_as_native_obj = True
    result = task.run()
    assert result.state == "failed"
    assert "surrogate" in str(result.error)
    assert kernel_emulator.browsers == ()


@pytest.mark.parametrize("args", ["\ud83d", float("nan"), {1, 2}, object()], ids=["half", "nan", "set", "object"])
def test_args_that_json_cannot_hold_are_refused_when_the_dag_is_parsed(args):
    with pytest.raises(KernelInputError, match="args"):
        KernelPlaywrightOperator(task_id="t", code="return 1", args=args)


@pytest.mark.parametrize("timeout", [0, 301, 1.5, "60", None, True])
def test_time_beyond_the_limit_of_kernel_is_refused_when_the_dag_is_parsed(timeout):
    with pytest.raises(KernelInputError, match="seconds from 1 to 300"):
        KernelPlaywrightOperator(task_id="t", code="return 1", timeout=timeout)


def test_script_of_a_file_is_sent_and_rendered(run, kernel_emulator, answers, tmp_path, make_task):
    answers()
    (tmp_path / "rows.ts").write_text("const day: string = '{{ ds_nodash }}';\nreturn args")
    task = make_task(KernelPlaywrightOperator, code="rows.ts", args={"run": "{{ run_id }}"})
    task.task.dag.template_searchpath = [str(tmp_path)]
    assert task.run().state == "success"
    script = script_of(kernel_emulator)
    assert "const day: string = '2" in script
    assert json.loads(json.loads(script.split("JSON.parse(")[1].split(");")[0])) == {"run": "r"}


def test_script_that_fails_fails_the_task_and_its_output_is_logged(run, kernel_emulator, answers, capsys):
    answers(
        success=False, error="page.goto: net::ERR", stdout="got here\n", stderr="Error: page.goto\n    at <1:1>"
    )
    result = run(KernelPlaywrightOperator, code="await page.goto('https://x')")
    assert result.state == "up_for_retry"
    assert isinstance(result.error, KernelScriptError)
    log = capsys.readouterr().out
    assert "The script failed: page.goto: net::ERR" in log
    assert "stdout | got here" in log
    assert "stderr |     at <1:1>" in log
    assert active(kernel_emulator) == []


def test_output_of_the_script_is_escaped_grouped_and_bounded(run, answers, capsys):
    answers(stdout="::endgroup::\n\x1b[31mred\nthird\nfourth\n", stderr="")
    assert run(KernelPlaywrightOperator, code="return 1", max_log_lines=3).state == "success"
    log = capsys.readouterr().out
    assert "::group::Output of the script" in log
    assert "stdout | \\x3a:endgroup::" in log
    assert "\\x1b[31mred" in log
    assert "fourth" not in log
    assert "1 more lines of the script were left out" in log


@pytest.mark.parametrize(
    ("arguments", "result", "error"),
    [
        ({"max_output_bytes": 10}, "x" * 20, KernelOutputTooLargeError),
        ({}, {"__classname__": "airflow.Evil"}, KernelOutputError),
        ({"multiple_outputs": True}, {"browser_id": "mine"}, KernelOutputError),
        ({"multiple_outputs": True}, [1], KernelOutputError),
        ({}, 2**70, KernelOutputError),
    ],
)
def test_result_that_xcom_does_not_take_fails_the_task_for_good(arguments, result, error, run, answers):
    answers(result=result)
    ended = run(KernelPlaywrightOperator, code="return 1", **arguments)
    assert ended.state == "failed"
    assert isinstance(ended.error.kernel_error, error)


def test_result_as_json_text_goes_into_xcom_whatever_it_is(run, answers, execution_api):
    answers(result={"__classname__": "x", "name": "Zoë"})
    assert run(KernelPlaywrightOperator, code="return 1", output_as="json_text").state == "success"
    assert json.loads(execution_api.xcoms["return_value"]) == {"__classname__": "x", "name": "Zoë"}


def test_script_is_sent_once_when_its_answer_is_lost(run, kernel_emulator):
    kernel_emulator.add_fault(Fault("POST", EXECUTE, drop="after"))
    assert run(KernelPlaywrightOperator, code="return 1").state == "up_for_retry"
    assert len(kernel_emulator.requests("POST", EXECUTE)) == 1
    assert active(kernel_emulator) == []


def test_kill_ends_the_browser_and_the_wait_though_the_call_never_ends(run, kernel_emulator):
    fault = kernel_emulator.add_fault(Fault("POST", EXECUTE, body={"success": True}, hold=True))
    operators, began = [], []

    class Noted(KernelPlaywrightOperator):
        def run_with_hook(self, context):
            operators.append(self)
            return super().run_with_hook(context)

    def kill():
        fault.wait_until_held()
        began.append(time.monotonic())
        operators[0].on_kill()

    thread = threading.Thread(target=kill)
    thread.start()
    result = run(Noted, code="await new Promise(() => {})")
    took = time.monotonic() - began[0]
    thread.join()
    assert isinstance(result.error, KernelTaskKilledError)
    assert [browser.end_cause for browser in kernel_emulator.browsers] == ["deleted"]
    assert took < 2.0
    fault.release()


def test_place_that_never_comes_fails_the_task_in_time_and_for_a_retry(run, kernel_emulator):
    kernel_emulator.switches.capacity_exhausted = True
    began = time.monotonic()
    result = run(KernelPlaywrightOperator, code="return 1", start_timeout=1)
    assert isinstance(result.error, KernelBrowserLimitError)
    assert result.state == "up_for_retry"
    assert time.monotonic() - began < 5.0
