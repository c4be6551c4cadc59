"""Each option of Airflow's base classes, in each mode of each part, does what the docs say."""

import importlib.util
import inspect
import sys
import time
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk import Asset, BaseOperator, BaseSensorOperator

from airflow_provider_kernel._compat import AirflowSkipException
from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.decorators.kernel_browser import KernelBrowserDecoratedOperator
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle.names import ownership_key
from airflow_provider_kernel.operators import invocation as invoke
from airflow_provider_kernel.operators.browser import KernelBrowserTaskOperator
from airflow_provider_kernel.operators.end_invocation import KernelCompleteInvocationOperator
from airflow_provider_kernel.operators.invocation_task import KernelInvocationTaskOperator
from airflow_provider_kernel.operators.orphans import KernelCancelOrphansOperator
from airflow_provider_kernel.operators.playwright import KernelPlaywrightOperator
from airflow_provider_kernel.owned.carried_result import MAX_CARRIED_BYTES
from airflow_provider_kernel.sensors import invocation as sensors
from airflow_provider_kernel.testing import Fault, KernelEmulator

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "_ext"))
from option_outcomes import APPLIED_BY_AIRFLOW, CLASSES, COLUMNS, NO_SUCH_MODE, OUTCOMES, Outcome

O = Outcome  # noqa: E741
ONE = "/invocations/*"
OUTPUT = {"a": 1}
OF_STATE = {"skipped": O.SKIPPED, "failed": O.FAILED, "up_for_retry": O.RETRIED}
REFUSED = {O.NO_SENSOR: (TypeError, "Invalid arguments"), O.EXCLUSIVE: (ValueError, "mutually exclusive")}
REFUSED[O.NO_ITEMS] = (KernelInputError, "multiple_outputs=True needs a task that returns a dict")

CELLS = [
    pytest.param(
        option,
        case,
        column,
        outcome,
        id=f"{option}-{case}-{column}",
        marks=[pytest.mark.needs_airflow("3.3", "before, there is no such option")]
        if "Airflow 3.3" in option and outcome not in REFUSED
        else [],
    )
    for (option, case), row in OUTCOMES.items()
    for column, outcome in row.items()
    if isinstance(outcome, Outcome)
]
#: The arguments that an option is in the table with.
GIVEN = {
    "soft_fail=True": {"soft_fail": True},
    "never_fail=True": {"never_fail": True},
    "soft_fail=True, never_fail=True": {"soft_fail": True, "never_fail": True},
    "silent_fail=True": {"silent_fail": True},
    "mode": {"mode": "reschedule"},
    "exponential_backoff=True, max_wait": {
        "exponential_backoff": True,
        "poke_interval": 4,
        "max_wait": timedelta(seconds=20),
        "timeout": 600,
    },
    "poke_interval=0": {"poke_interval": 0},
    "poke_interval as a timedelta": {"poke_interval": timedelta(seconds=2), "timeout": timedelta(minutes=1)},
    "do_xcom_push=False": {"do_xcom_push": False},
    "multiple_outputs=True": {"multiple_outputs": True},
    "deferrable=True in default_args": {"default_args": {"deferrable": True}},
}


@pytest.fixture(scope="module")
def kernel():
    with KernelEmulator() as emulator:
        yield emulator


@pytest.fixture
def play(kernel, make_task, execution_api, monkeypatch):
    kernel.clear_faults()
    return Play(kernel, make_task, execution_api, monkeypatch)


@pytest.fixture
def kernel_connection(kernel, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", kernel.airflow_connection)
    return "kernel_default"


def classes():
    return {
        "invoke": invoke.KernelInvokeOperator,
        "sensor": sensors.KernelInvocationSensor,
        "answer": KernelInvocationTaskOperator,
        "request": KernelCompleteInvocationOperator,
        "browser": KernelBrowserTaskOperator,
    }


REQUIRED = {
    "invoke": {"app_name": "demo", "action_name": "act"},
    "sensor": {"invocation_id": "i"},
    "answer": {"invocation_id": "i", "python_callable": dict},
    "request": {"invocation_id": "i"},
    "browser": {"python_callable": lambda: 1},
}


#: A task of each class of the operators that send one request.
OF_ONE_REQUEST = {
    "KernelCompleteInvocationOperator": partial(KernelCompleteInvocationOperator, invocation_id="i"),
    "KernelUpdateInvocationOperator": partial(
        invoke.KernelUpdateInvocationOperator, invocation_id="i", status="failed"
    ),
    "KernelCancelInvocationOperator": partial(invoke.KernelCancelInvocationOperator, invocation_id="i"),
    "KernelCancelOrphansOperator": partial(KernelCancelOrphansOperator, app_name="demo"),
}


#: A task of each class with a browser.
WITH_A_BROWSER = {
    "KernelBrowserTaskOperator": partial(KernelBrowserTaskOperator, python_callable=lambda: 1),
    "@task.kernel_browser": partial(KernelBrowserDecoratedOperator, python_callable=lambda: 1),
    "KernelPlaywrightOperator": partial(KernelPlaywrightOperator, code="return 1"),
}


class Play:
    """Plays one case in one mode of one part, on a real task runner, and names what came of it."""

    def __init__(self, kernel, make_task, api, monkeypatch):
        self.kernel = kernel
        self.make_task = make_task
        self.api = api
        self.monkeypatch = monkeypatch
        #: What happens to the invocation; at the start, or once the task waits.
        self.then = partial(self.end, output=OUTPUT)
        self.returned = OUTPUT
        self.sleeps = []
        self.classes = classes()
        self.id = None
        monkeypatch.setattr(
            "airflow.sdk.bases.sensor.time", SimpleNamespace(sleep=self.sleep, monotonic=time.monotonic)
        )

    # --- what happens -------------------------------------------------------------------------------------------

    def start(self):
        with KernelHook() as hook:
            self.id = hook.invoke("demo", "hang").id

    def end(self, status="succeeded", output=None):
        self.kernel.finish(self.id or self.kernel.invocations[-1].id, status, output)

    def refuse_key(self, nth=None):
        self.monkeypatch.setattr("airflow_provider_kernel.client.outage.ACCESS_SECONDS", 0.0)
        self.kernel.add_fault(Fault("GET", ONE, nth, status=401))

    def sleep(self, seconds):
        self.sleeps.append(seconds)
        if len(self.sleeps) in (1, 6):
            self.then()

    # --- the modes ----------------------------------------------------------------------------------------------

    def run(self, column, **arguments):
        """Run the task to its end, or to what the column is about."""
        part, _, stage = column.partition("_")
        return getattr(self, part)(stage, **arguments)

    def task(self, part, **arguments):
        return self.make_task(
            self.classes[part], **{**REQUIRED[part], "kernel_conn_id": "kernel_default", **arguments}
        )

    def invoke(self, stage, **arguments):
        if stage == "after":
            self.monkeypatch.setattr(invoke, "FIRST_POLL_SECONDS", 0.0)
            self.kernel.register("demo", "act", lambda ctx: ctx.wait())
        else:
            self.kernel.register("demo", "act", self.act)
        if (
            stage != "blocking"
            and "default_args" not in arguments
            and self.classes["invoke"] is invoke.KernelInvokeOperator
        ):
            arguments["deferrable"] = True
        task = self.task("invoke", **{"poll_interval": 0.01, "stream_logs": False, **arguments})
        result = task.run()
        return self.resume(task, result) if stage == "after" else result

    def act(self, ctx):
        self.id = ctx.invocation_id
        self.then()
        ctx.wait()

    def resume(self, task, deferred):
        assert deferred.state == "deferred"
        self.then()
        return self.go_on(task, deferred)

    def go_on(self, task, deferred):
        return task.go_on(deferred)

    def sensor(self, stage, **arguments):
        self.start()
        if stage in ("poke", "reschedule"):
            arguments.setdefault("mode", stage)
        elif (
            "deferrable" not in arguments
            and "default_args" not in arguments
            and self.classes["sensor"] is sensors.KernelInvocationSensor
        ):
            arguments["deferrable"] = True
        task = self.task("sensor", **{"invocation_id": self.id, "poke_interval": 0.01, "timeout": 60, **arguments})
        if stage == "first":
            self.then()
        result = task.run()
        if stage == "after":
            return self.resume(task, result)
        if stage == "reschedule" and result.state == "up_for_reschedule":
            self.api.rescheduled_at = self.api.rescheduled_at or datetime.now(timezone.utc)
            self.then()
            return task.run()
        return result

    def answer(self, stage, **arguments):
        self.start()

        def function():
            if isinstance(self.returned, BaseException):
                raise self.returned
            return self.returned

        return self.task("answer", **{"invocation_id": self.id, "python_callable": function, **arguments}).run()

    def browser(self, stage, **arguments):
        def function(browser):
            browser.check_active()
            if isinstance(self.returned, BaseException):
                raise self.returned
            return self.returned

        return self.task("browser", **{"python_callable": function, **arguments}).run()

    def request(self, stage, **arguments):
        self.start()
        return self.task("request", **{"invocation_id": self.id, **arguments}).run()


# --- the cases ----------------------------------------------------------------------------------------------------


def nothing(play, column, arguments):
    pass


def runs_on(play, column, arguments):
    if column != "sensor_poke":
        play.then = lambda: None


def failed(play, column, arguments):
    play.then = partial(play.end, "failed", {"error": "no"})


def too_late(play, column, arguments):
    play.then = lambda: None
    if column == "sensor_after":

        def go_on(task, deferred):
            deferred.msg.trigger_kwargs["deadline"] = time.time() - 1
            return task.go_on(deferred)

        play.go_on = go_on
    elif column == "sensor_reschedule":
        play.api.rescheduled_at = datetime.now(timezone.utc) - timedelta(days=1)
    else:
        arguments["timeout"] = 0


def late_in_a_poll(play, column, arguments):
    arguments["execution_timeout"] = timedelta(seconds=0.5)
    if column == "sensor_after":
        # Too large for the trigger's event: the task fetches it.
        output = "x" * (MAX_CARRIED_BYTES + 1)
        play.then = lambda: (play.end(output=output), play.kernel.add_fault(Fault("GET", ONE, 2, delay=1.5)))
    elif column == "sensor_first":
        play.then = lambda: play.kernel.add_fault(Fault("GET", ONE, 1, delay=1.5))
    else:
        play.then = lambda: None
        play.kernel.add_fault(Fault("GET", ONE, 1, delay=1.5))


def late_between_polls(play, column, arguments):
    arguments["execution_timeout"] = timedelta(seconds=0.5)
    play.then = lambda: column == "sensor_poke" and time.sleep(5)


def crashed(play, column, arguments):
    play.go_on = lambda task, deferred: task.resume("__fail__", error="Trigger failure")


def unfit(play, column, arguments):
    arguments["max_output_bytes"] = 1


def refused_at_first(play, column, arguments):
    play.refuse_key()


def refused_later(play, column, arguments):
    play.then = play.refuse_key


def may_pass(play, column, arguments):
    if column.startswith("sensor"):
        refused_later(play, column, arguments)
    else:
        failed(play, column, arguments)
        play.returned = ValueError("a bug")
    if column == "request":
        play.kernel.add_fault(Fault("GET", ONE, None, status=418))


def will_not_pass(play, column, arguments):
    if column.startswith("sensor"):
        failed(play, column, arguments)
    elif column == "request":
        arguments["invocation_id"] = "nonexistent"
    elif column == "browser":
        arguments["region"] = "{{ 'the moon' }}"
    else:
        unfit(play, column, arguments)


def no_object(play, column, arguments):
    play.returned = [1]
    play.then = partial(play.end, output=[1])


def skipped(play, column, arguments):
    failed(play, column, arguments)
    if column.startswith("sensor"):
        arguments["soft_fail"] = True
    elif column == "request":
        arguments["if_finished"] = "skip"
        start = play.start
        play.start = lambda: (start(), play.end())
    play.returned = AirflowSkipException("holiday")


CASES = {
    "always": nothing,
    "the task succeeds": nothing,
    "the invocation runs": runs_on,
    "the invocation failed": failed,
    "the timeout is over": too_late,
    "the trigger crashes": crashed,
    "XCom cannot hold the output": unfit,
    "the execution_timeout is over during a poll": late_in_a_poll,
    "the execution_timeout is over between two polls": late_between_polls,
    "the key is refused at the first poll": refused_at_first,
    "the key is refused later": refused_later,
    "an error that may pass": may_pass,
    "an error that will not pass": will_not_pass,
    "the output is no JSON object": no_object,
    "the task is skipped": skipped,
}


# --- the options --------------------------------------------------------------------------------------------------


def of_state(play, column, **arguments):
    return OF_STATE[play.run(column, **arguments).state]


def of_silent_fail(play, column, **arguments):
    if play.then == play.refuse_key and column == "sensor_poke":
        play.then = lambda: (play.refuse_key((1, 2)), play.end(output=OUTPUT))
    result = play.run(column, **arguments)
    if result.state in ("success", "up_for_reschedule", "deferred"):
        assert len(play.sleeps) == 3 or column != "sensor_poke"
        return O.POLLS_ON
    return OF_STATE[result.state]


def of_mode(play, column, **arguments):
    if column == "sensor_poke":
        arguments["mode"] = "poke"
        assert play.run(column, **arguments).state == "success"
        return O.KEEPS_SLOT
    if column == "sensor_after":
        play.then = play.refuse_key
        arguments["silent_fail"] = True
    return {"up_for_reschedule": O.RESCHEDULES, "deferred": O.DEFERS}[play.run(column, **arguments).state]


def pauses(play, column, arguments):
    """The pauses between polls that the task takes or asks for."""
    if column == "sensor_poke":
        ended, play.then = play.then, lambda: len(play.sleeps) == 6 and ended()
        play.run(column, **arguments)
        return play.sleeps
    if column == "sensor_reschedule":
        found = []
        for passed in (0, 5, 50):
            now = datetime.now(timezone.utc)
            play.api.rescheduled_at = now - timedelta(seconds=passed) if passed else None
            result = play.sensor("", mode="reschedule", deferrable=False, **arguments)
            found.append(round((result.msg.reschedule_date - now).total_seconds(), 0))
        return found
    if column == "sensor_after":
        play.then = play.refuse_key
        play.api.start_date = datetime.now(timezone.utc)
        arguments = {**arguments, "silent_fail": True}
    kwargs = play.run(column, **arguments).msg.trigger_kwargs
    timeout = arguments.get("timeout", 60)
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    assert kwargs["deadline"] - time.time() == pytest.approx(seconds, abs=5)
    return kwargs["poll_delays"]


def of_backoff(play, column, **arguments):
    found = pauses(play, column, arguments)
    assert found == sorted(found)
    assert found[0] < 8
    assert found[-1] == 20
    return O.GROWING


def of_no_interval(play, column, **arguments):
    found = set(pauses(play, column, arguments))
    return {0: O.AT_ONCE, 1: O.EVERY_SECOND}[found.pop()]


def of_timedelta(play, column, **arguments):
    assert set(pauses(play, column, arguments)) == {2}
    return O.SECONDS


RECORDS = {
    "invoke": {"invocation_id", ownership_key("invocation")},
    "sensor": set(),
    "answer": {ownership_key("response")},
    "request": set(),
    "browser": {"browser_id", ownership_key("browser")},
}


def of_no_push(play, column, **arguments):
    assert play.run(column, **arguments).state == "success"
    assert set(play.api.xcoms) == RECORDS[column.partition("_")[0]]
    return O.NO_RESULT


def of_multiple_outputs(play, column, **arguments):
    result = play.run(column, **arguments)
    if result.state == "success":
        assert play.api.xcoms["return_value"] == OUTPUT
        assert play.api.xcoms["a"] == 1
        return O.ITEMS
    return OF_STATE[result.state]


def of_policy(play, column, **arguments):
    from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

    policy = ExceptionRetryPolicy(rules=[RetryRule(exception=Exception, action=RetryAction.FAIL)])
    return of_state(play, column, retry_policy=policy, **arguments)


def of_default_deferrable(play, column, **arguments):
    play.monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "True")
    play.classes["invoke"] = loaded_anew(invoke).KernelInvokeOperator
    play.classes["sensor"] = loaded_anew(sensors).KernelInvocationSensor
    return of_deferrable(play, column, **arguments)


def of_deferrable(play, column, **arguments):
    if column.endswith("_after"):
        play.then = partial(play.end, output=OUTPUT)
    if column == "invoke_blocking":
        assert play.run(column, wait_for_completion=False, **arguments).state == "success"
        assert play.api.xcoms["return_value"] == play.api.xcoms["invocation_id"]
        return O.RETURNS_ID
    result = play.run(column, **arguments)
    if result.state == "deferred":
        return O.DEFERS
    assert result.state == "success"
    return O.ENDS if column.endswith("_after") else O.NO_WAIT


def loaded_anew(module):
    """Load a module a second time: Airflow's configuration is read then."""
    spec = importlib.util.spec_from_file_location("loaded_anew", module.__file__)
    anew = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(anew)
    return anew


def count(play, column, *names, **arguments):
    """Name how often Airflow calls each of the callbacks."""
    calls = dict.fromkeys(names, 0)

    def note(name):
        def call(*args, **kwargs):
            calls[name] += 1

        return call

    play.run(column, **{name: note(name) for name in names}, **arguments)
    (number,) = set(calls.values())
    if number == 2:
        return O.EACH_POKE if column == "sensor_reschedule" else O.TWICE
    assert number == 1
    return O.ONCE


def of_dag_result(play, column, **arguments):
    make_task = play.make_task

    def make_marked(*args, **more):
        task = make_task(*args, **more)
        task.task.returns_dag_result = True
        return task

    play.make_task = make_marked
    assert play.run(column, **arguments).state == "success"
    assert "return_value" in play.api.dag_results
    return O.DAG_RESULT


def of_outlets(play, column, **arguments):
    play.run(column, outlets=[Asset("shop")], **arguments)
    (outlets,) = [state["task_outlets"] for state in play.api.states if state.get("task_outlets")]
    assert [outlet["name"] for outlet in outlets] == ["shop"]
    return O.ONCE


def of_map_index_template(play, column, **arguments):
    play.run(column, map_index_template="{{ task.task_id }} of the shop", **arguments)
    assert play.api.final_state == "success"
    assert play.api.states[-1]["rendered_map_index"] == "t of the shop"
    return O.ONCE


PLAYS = {
    "silent_fail=True": of_silent_fail,
    "mode": of_mode,
    "exponential_backoff=True, max_wait": of_backoff,
    "poke_interval=0": of_no_interval,
    "poke_interval as a timedelta": of_timedelta,
    "do_xcom_push=False": of_no_push,
    "multiple_outputs=True": of_multiple_outputs,
    "retry_policy (Airflow 3.3) that says fail": of_policy,
    "[operators] default_deferrable": of_default_deferrable,
    "deferrable=True in default_args": of_deferrable,
    "pre_execute, on_execute_callback": lambda *args, **kw: count(
        *args, "pre_execute", "on_execute_callback", **kw
    ),
    "post_execute, on_success_callback": lambda *args, **kw: count(
        *args, "post_execute", "on_success_callback", **kw
    ),
    "on_retry_callback": lambda *args, **kw: count(*args, "on_retry_callback", **kw),
    "on_failure_callback": lambda *args, **kw: count(*args, "on_failure_callback", **kw),
    "on_skipped_callback": lambda *args, **kw: count(*args, "on_skipped_callback", **kw),
    "outlets": of_outlets,
    "@result, DAG.add_result (Airflow 3.3)": of_dag_result,
    "map_index_template": of_map_index_template,
}


def makers(part):
    """What makes a task of each class of a part."""
    every = {"request": OF_ONE_REQUEST, "browser": WITH_A_BROWSER}.get(part)
    return [partial(classes()[part], **REQUIRED[part])] if every is None else every.values()


@pytest.mark.parametrize(
    ("option", "column", "outcome"),
    [pytest.param(p.values[0], p.values[2], p.values[3], id=p.id) for p in CELLS if p.values[3] in REFUSED],
)
def test_option_is_refused_where_the_docs_say_so(option, column, outcome):
    part = column.partition("_")[0]
    error, message = REFUSED[outcome]
    for make in makers(part):
        with pytest.raises(error, match=message):
            make(task_id="t", **GIVEN[option])


@pytest.mark.parametrize(("option", "case", "column", "outcome"), [p for p in CELLS if p.values[3] not in REFUSED])
def test_option_does_what_the_docs_say(option, case, column, outcome, play):
    arguments = dict(GIVEN.get(option, {}))
    CASES[case](play, column, arguments)
    assert PLAYS.get(option, of_state)(play, column, **arguments) is outcome


@pytest.mark.parametrize(
    ("part", "argument", "value"), [(part, *given) for part, modes in NO_SUCH_MODE.items() for given in modes]
)
def test_part_without_a_mode_refuses_what_would_choose_it(part, argument, value):
    for make in makers(part):
        with pytest.raises(TypeError, match="Invalid arguments"):
            make(task_id="t", **{argument: value})


def test_tables_have_every_option_of_the_base_classes():
    taken = {
        name
        for cls in (BaseOperator, BaseSensorOperator)
        for name, parameter in inspect.signature(inspect.unwrap(vars(cls)["__init__"])).parameters.items()
        if name != "self" and parameter.kind is not parameter.VAR_KEYWORD
    }
    played = " ".join(option for option, _ in OUTCOMES)
    applied = {name for names in APPLIED_BY_AIRFLOW.values() for name in names}
    assert {name for name in taken if name not in played} <= applied
    assert all(list(row) == list(COLUMNS) for row in OUTCOMES.values())
    assert set(CLASSES["request"]) == set(OF_ONE_REQUEST)
    assert set(CLASSES["browser"]) == set(WITH_A_BROWSER)
