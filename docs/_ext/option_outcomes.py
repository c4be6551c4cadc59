"""
What each option of Airflow's base classes does, by part of the package and by mode.

The page about options shows these tables; ``tests/unit/test_option_outcomes.py`` plays each cell. Imports nothing.
"""

from __future__ import annotations

from enum import Enum


class Outcome(Enum):
    """What the option makes of the task; the value is what the documentation says."""

    NO_SENSOR = "refused by Airflow with a ``TypeError``, as an option of sensors alone"
    EXCLUSIVE = "Airflow refuses it with a ``ValueError``"
    NO_ITEMS = "refused with a ``KernelInputError``: the result has no items"
    SKIPPED = "the task is skipped"
    FAILED = "the task fails, and is not retried"
    RETRIED = "the task fails, and Airflow retries it"
    POLLS_ON = "the error is logged, and the task goes on waiting"
    ENDS = "makes no difference to how the task ends"
    KEEPS_SLOT = "the task keeps its worker slot and polls again"
    RESCHEDULES = "the task gives its slot back until the next poll"
    DEFERS = "the task defers"
    RETURNS_ID = "the task returns the id at once, as ``wait_for_completion=False`` says"
    NO_WAIT = "makes no difference: the task does not wait in the triggerer"
    GROWING = "the pauses double, up to ``max_wait``"
    AT_ONCE = "the next poll follows at once"
    EVERY_SECOND = "the trigger polls every second: its event loop is shared"
    SECONDS = "taken as its seconds"
    NO_RESULT = "the result is not pushed; the link and what the safety net reads are"
    ITEMS = "each item of the result is also pushed under its own key"
    DAG_RESULT = "the result of the task is that of the DAG run"
    ONCE = "takes effect once"
    TWICE = "takes effect at the start, and again after the deferral"
    EACH_POKE = "takes effect at each poll, for which Airflow starts the task anew"


#: The modes of the parts, as the tables name them; a first poll is before a deferral.
COLUMNS = {
    "invoke_blocking": "Operator on a worker",
    "invoke_first": "Operator at its first poll",
    "invoke_after": "Operator after a deferral",
    "sensor_poke": "Sensor in poke mode",
    "sensor_reschedule": "Sensor in reschedule mode",
    "sensor_first": "Sensor at its first poll",
    "sensor_after": "Sensor after a deferral",
    "answer": "Answering task",
    "request": "Operators of one request",
    "browser": "Task with a browser",
}

#: The parts of the package.
PARTS = {
    "invoke": "Operator",
    "sensor": "Sensor",
    "answer": "Answering task",
    "request": "Operators of one request",
    "browser": "Task with a browser",
}

#: What their names stand for.
CLASSES = {
    "invoke": ["KernelInvokeOperator"],
    "sensor": ["KernelInvocationSensor"],
    "answer": ["KernelInvocationTaskOperator", "@task.kernel_invocation"],
    "request": [
        *("KernelUpdateInvocationOperator", "KernelCompleteInvocationOperator"),
        *("KernelCancelInvocationOperator", "KernelCancelOrphansOperator"),
    ],
    "browser": ["KernelBrowserTaskOperator", "@task.kernel_browser", "KernelPlaywrightOperator"],
}

#: Why a part lacks modes.
WHY_NO_MODE = {
    "invoke": "only sensors poke; the operator waits on its worker, or in the triggerer with ``deferrable=True``",
    "answer": "its function works on the worker, and nothing is left to wait for",
    "request": "they wait for nothing",
    "browser": "its function or its script runs while it has the browser, and nothing is left to wait for",
}

#: What chooses a mode that a part does not have, by part: argument and value. Airflow refuses it.
NO_SUCH_MODE = {
    "invoke": [("mode", "poke"), ("mode", "reschedule")],
    "answer": [("mode", "poke"), ("mode", "reschedule"), ("deferrable", True)],
    "request": [("mode", "poke"), ("mode", "reschedule"), ("deferrable", True)],
    "browser": [("mode", "poke"), ("mode", "reschedule"), ("deferrable", True)],
}

O = Outcome  # noqa: E741 (the tables are read as tables)
_NEVER_SKIPS = "cannot occur: nothing makes the operator skip"
_FOUND_BEFORE = "cannot occur: the first poll, before the deferral, has failed"
_NOT_FIRST = "cannot occur: a first poll that fails is repeated, or fails the task for good"
_OWN_LIMIT = "cannot occur: Airflow starts the task anew for each poll, and the limit with it"
_NO_TRIGGER = "cannot occur: there is no trigger"
_THEN_DEFERRED = "cannot occur: between two polls the task is deferred"


def _row(*cells: Outcome | str) -> dict[str, Outcome | str]:
    return dict(zip(COLUMNS, cells, strict=True))


def _sensor(poke: Outcome | str, reschedule: Outcome | str, first: Outcome | str, after: Outcome | str) -> dict:
    return _row(*(O.NO_SENSOR,) * 3, poke, reschedule, first, after, *(O.NO_SENSOR,) * 3)


#: By option and case, and by column: the outcome, or why the cell cannot occur.
OUTCOMES: dict[tuple[str, str], dict[str, Outcome | str]] = {
    ("soft_fail=True", "the invocation failed"): _sensor(*(O.SKIPPED,) * 4),
    ("soft_fail=True", "the timeout is over"): _sensor(*(O.SKIPPED,) * 4),
    ("soft_fail=True", "XCom cannot hold the output"): _sensor(*(O.SKIPPED,) * 4),
    ("soft_fail=True", "the key is refused at the first poll"): _sensor(*(O.SKIPPED,) * 3, _FOUND_BEFORE),
    ("soft_fail=True", "the key is refused later"): _sensor(O.RETRIED, O.RETRIED, _NOT_FIRST, O.RETRIED),
    ("soft_fail=True", "the execution_timeout is over during a poll"): _sensor(*(O.SKIPPED,) * 4),
    ("soft_fail=True", "the execution_timeout is over between two polls"): _sensor(
        O.RETRIED, _OWN_LIMIT, _THEN_DEFERRED, O.RETRIED
    ),
    ("soft_fail=True", "the trigger crashes"): _sensor(*(_NO_TRIGGER,) * 3, O.SKIPPED),
    ("never_fail=True", "the invocation failed"): _sensor(*(O.SKIPPED,) * 4),
    ("never_fail=True", "the timeout is over"): _sensor(*(O.FAILED,) * 4),
    ("never_fail=True", "XCom cannot hold the output"): _sensor(*(O.SKIPPED,) * 4),
    ("never_fail=True", "the key is refused later"): _sensor(O.SKIPPED, O.SKIPPED, _NOT_FIRST, O.SKIPPED),
    ("never_fail=True", "the trigger crashes"): _sensor(*(_NO_TRIGGER,) * 3, O.SKIPPED),
    ("soft_fail=True, never_fail=True", "always"): _sensor(*(O.EXCLUSIVE,) * 4),
    ("silent_fail=True", "the invocation failed"): _sensor(*(O.FAILED,) * 4),
    ("silent_fail=True", "the timeout is over"): _sensor(*(O.FAILED,) * 4),
    ("silent_fail=True", "the key is refused later"): _sensor(O.POLLS_ON, O.POLLS_ON, _NOT_FIRST, O.POLLS_ON),
    ("silent_fail=True", "the trigger crashes"): _sensor(*(_NO_TRIGGER,) * 3, O.RETRIED),
    ("mode", "the invocation runs"): _sensor(O.KEEPS_SLOT, O.RESCHEDULES, O.DEFERS, O.DEFERS),
    ("exponential_backoff=True, max_wait", "the invocation runs"): _sensor(*(O.GROWING,) * 4),
    ("poke_interval=0", "the invocation runs"): _sensor(O.AT_ONCE, O.AT_ONCE, O.EVERY_SECOND, O.EVERY_SECOND),
    ("poke_interval as a timedelta", "the invocation runs"): _sensor(*(O.SECONDS,) * 4),
    ("do_xcom_push=False", "the task succeeds"): _row(*(O.NO_RESULT,) * 10),
    ("multiple_outputs=True", "the task succeeds"): _row(*(O.ITEMS,) * 8, O.NO_ITEMS, O.ITEMS),
    ("multiple_outputs=True", "the output is no JSON object"): _row(*(O.FAILED,) * 8, O.NO_ITEMS, O.RETRIED),
    ("@result, DAG.add_result (Airflow 3.3)", "the task succeeds"): _row(*(O.DAG_RESULT,) * 10),
    ("retries", "an error that may pass"): _row(
        *(O.RETRIED,) * 3, *(O.RETRIED, O.RETRIED, _NOT_FIRST, O.RETRIED), *(O.RETRIED,) * 3
    ),
    ("retries", "the trigger crashes"): _row(
        *(_NO_TRIGGER, _NO_TRIGGER, O.RETRIED), *(_NO_TRIGGER,) * 3, O.RETRIED, *(_NO_TRIGGER,) * 3
    ),
    ("retries", "an error that will not pass"): _row(*(O.FAILED,) * 10),
    ("retry_policy (Airflow 3.3) that says fail", "an error that may pass"): _row(
        *(O.FAILED,) * 3, *(O.FAILED, O.FAILED, _NOT_FIRST, O.FAILED), *(O.FAILED,) * 3
    ),
    ("[operators] default_deferrable", "the invocation runs"): _row(
        *(O.RETURNS_ID, O.DEFERS, O.ENDS), *(O.DEFERS, O.DEFERS, O.DEFERS, O.ENDS), *(O.NO_WAIT,) * 3
    ),
    ("deferrable=True in default_args", "the invocation runs"): _row(
        *(O.RETURNS_ID, O.DEFERS, O.ENDS), *(O.DEFERS, O.DEFERS, O.DEFERS, O.ENDS), *(O.NO_WAIT,) * 3
    ),
    ("pre_execute, on_execute_callback", "the task succeeds"): _row(
        *(O.ONCE, O.ONCE, O.TWICE), *(O.ONCE, O.EACH_POKE, O.ONCE, O.TWICE), *(O.ONCE,) * 3
    ),
    ("post_execute, on_success_callback", "the task succeeds"): _row(*(O.ONCE,) * 10),
    ("on_retry_callback", "an error that may pass"): _row(
        *(O.ONCE,) * 3, *(O.ONCE, O.ONCE, _NOT_FIRST, O.ONCE), *(O.ONCE,) * 3
    ),
    ("on_failure_callback", "an error that will not pass"): _row(*(O.ONCE,) * 10),
    ("on_skipped_callback", "the task is skipped"): _row(*(_NEVER_SKIPS,) * 3, *(O.ONCE,) * 7),
    ("outlets", "the task succeeds"): _row(*(O.ONCE,) * 10),
    ("map_index_template", "the task succeeds"): _row(*(O.ONCE,) * 10),
}

#: Options that no code of the package can meet: what applies them instead, and which ones.
APPLIED_BY_AIRFLOW = {
    "The scheduler applies it before a try starts, in every mode alike": [
        *("trigger_rule", "depends_on_past", "ignore_first_depends_on_past", "wait_for_downstream"),
        *("wait_for_past_depends_before_skipping", "start_date", "end_date", "priority_weight", "weight_rule"),
        *("max_active_tis_per_dag", "max_active_tis_per_dagrun", "retry_delay", "retry_exponential_backoff"),
        "max_retry_delay",
    ],
    "The scheduler and the executor apply it, to each stay on a worker; only a pool can count deferred tasks": [
        *("pool", "pool_slots", "queue", "executor", "executor_config", "resources", "run_as_user"),
    ],
    "It describes the task, and changes nothing of its run": [
        *("task_id", "owner", "task_display_name", "doc", "doc_md", "doc_json", "doc_yaml", "doc_rst", "inlets"),
        *("dag", "task_group", "default_args", "params", "sla", "logger_name", "allow_nested_operators"),
    ],
    "Payloads, outputs and a function's arguments are rendered by it; names, ids and versions always as text": [
        "render_template_as_native_obj",
    ],
    "The task runner sends the mail after the task has ended, as it calls ``on_failure_callback``": [
        *("email", "email_on_retry", "email_on_failure"),
    ],
    "A limit of time. It counts from the start of the task, over a deferral too; in reschedule mode "
    "``execution_timeout`` counts for each poll": [
        "timeout",
        "execution_timeout",
    ],
}
