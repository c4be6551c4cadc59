"""
The table of arguments: what each class that stands in a DAG file takes, and what excludes what.

Constants are checked by it when the DAG is parsed, those of ``partial()`` too. What a template, another task or a
mapping gives is known only when the task runs, and is then checked by the same rules. Rules of the API are the
client's: they stand in :mod:`airflow_provider_kernel.client.validation` and next to the requests.
"""

from __future__ import annotations

import inspect
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from airflow_provider_kernel._compat import AirflowFailException, conf
from airflow_provider_kernel.argument_checks import (
    Check,
    check_age,
    check_count,
    check_flag,
    check_json,
    check_key,
    check_named_invocation,
    check_seconds,
    check_text,
    check_texts,
    is_pending,
    leave_to_airflow,
    one_of,
    or_none,
    some_of,
)
from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.client.resources.invocations.status import check_final_status
from airflow_provider_kernel.client.resources.invocations.time_limits import check_async_timeout
from airflow_provider_kernel.client.unset import UNSET
from airflow_provider_kernel.client.validation import check_name, is_missing

#: The arguments by name, as far as they are known.
Values = Mapping[str, Any]

#: What starts a template, and the setting of a DAG that changes it.
_TEMPLATE_STARTS = {"variable_start_string": "{{", "block_start_string": "{%", "comment_start_string": "{#"}


class Conflict(NamedTuple):
    """
    Arguments that exclude each other.

    :param exists: tells from all arguments; one that is not a constant is left out.
    :param says: what excludes what, and what to do.
    """

    exists: Callable[[Values], bool]
    says: str


class Arguments(NamedTuple):
    """The arguments that a class of this package adds to those of Airflow, and what they exclude."""

    checks: Mapping[str, Check]
    conflicts: tuple[Conflict, ...] = ()
    #: Checks that take more than one argument.
    joint_checks: tuple[Callable[[Values], object], ...] = ()


# --- several arguments at once --------------------------------------------------------------------------------


def check_correlation(key: str, payload: Any) -> None:
    """Refuse a payload into which no mark can be put under the ``correlation_key``."""
    if isinstance(payload, Mapping) and key not in payload:
        return
    # The type alone: payloads belong into no message.
    has = f"one that has a {key!r} already" if isinstance(payload, Mapping) else f"of type {type(payload).__name__}"
    raise KernelInputError(
        f"correlation_key={key!r} needs a payload that is a JSON object without that key; this one is {has}"
    )


def _correlation(values: Values) -> None:
    key, payload = values.get("correlation_key"), values.get("payload")
    if key is not None and payload is not None:
        check_correlation(key, payload)


def _check_present_id(values: Values) -> None:
    """Refuse a constant that names no invocation, unless that is said to be in order."""
    if "invocation_id" in values:
        value = values["invocation_id"]
        if not (is_missing(value) and values.get("if_missing") == "skip"):
            check_named_invocation("invocation_id", value)


def _pushes_items(values: Values) -> bool:
    return values.get("multiple_outputs") is True and values.get("do_xcom_push") is not False


def _no_items(result: str) -> Conflict:
    return Conflict(
        _pushes_items, f"multiple_outputs=True needs a task that returns a dict; this one returns {result}"
    )


def _sweeps_no_app(values: Values) -> bool:
    return values.get("app_name", "") is None and "invocations" in values.get("what", ("invocations",))


def _defers_without_a_wait(values: Values) -> bool:
    # Said of this task, and not of all tasks of a DAG or an installation.
    return (
        values.get("wait_for_completion") is False
        and values.get("deferrable") is True
        and (values.get("default_args") or {}).get("deferrable") is not True
        and not conf.getboolean("operators", "default_deferrable", fallback=False)
    )


JSON_TEXT_HAS_NO_ITEMS = Conflict(
    lambda values: _pushes_items(values) and values.get("output_as") == "json_text",
    "multiple_outputs=True needs output_as='value': JSON text has no items to push",
)


# --- the table --------------------------------------------------------------------------------------------------

_CONNECTION: dict[str, Check] = {"kernel_conn_id": check_name}
OUTPUT: dict[str, Check] = {"max_output_bytes": check_count, "output_as": one_of("value", "json_text")}
_LOG: dict[str, Check] = {"stream_logs": check_flag, "max_log_lines": check_count}
_END: dict[str, Check] = {
    "invocation_id": leave_to_airflow,  # by _check_present_id
    "if_finished": or_none(one_of("skip", "fail", "ignore")),
    "if_missing": one_of("skip", "fail"),
    **_CONNECTION,
}
_ENDS: dict[str, Any] = {"conflicts": (_no_items("a status"),), "joint_checks": (_check_present_id,)}

#: Operators with a browser have their rows in ``browser_arguments.py``: other DAG files need not load them.
TABLE: dict[str, Arguments] = {
    "KernelInvokeOperator": Arguments(
        {
            "app_name": check_name,
            "action_name": check_name,
            "payload": check_json,
            "version": check_name,
            "async_timeout_seconds": or_none(check_async_timeout),
            "wait_for_completion": check_flag,
            "deferrable": check_flag,
            "poll_interval": check_seconds,
            **_LOG,
            "cancel_on_kill": check_flag,
            "durable": check_flag,
            "correlation_key": or_none(check_key),
            **OUTPUT,
            "live_view_link": check_flag,
            **_CONNECTION,
        },
        conflicts=(
            JSON_TEXT_HAS_NO_ITEMS,
            Conflict(
                lambda values: _pushes_items(values) and values.get("wait_for_completion") is False,
                "multiple_outputs=True needs wait_for_completion=True: an id has no items to push",
            ),
            Conflict(
                _defers_without_a_wait,
                "deferrable=True needs wait_for_completion=True: a task that does not wait has nothing to defer "
                "for. Leave one of the two out",
            ),
        ),
        joint_checks=(_correlation,),
    ),
    "KernelUpdateInvocationOperator": Arguments(
        {**_END, "status": check_final_status, "invocation_output": check_json}, **_ENDS
    ),
    "KernelCompleteInvocationOperator": Arguments({**_END, "invocation_output": check_json}, **_ENDS),
    "KernelCancelInvocationOperator": Arguments({**_END, "reason": check_text}, **_ENDS),
    "KernelInvocationTaskOperator": Arguments(
        {
            "invocation_id": check_named_invocation,
            "include_traceback": check_flag,
            "max_output_bytes": check_count,
            "python_callable": leave_to_airflow,
            "op_args": leave_to_airflow,
            "op_kwargs": leave_to_airflow,
            **_CONNECTION,
        }
    ),
    "KernelCancelOrphansOperator": Arguments(
        {
            "what": some_of("invocations", "browsers"),
            "app_name": or_none(check_name),
            "correlation_key": check_key,
            "dag_ids": check_texts,
            "dry_run_only": check_flag,
            "since": check_age,
            **_CONNECTION,
        },
        conflicts=(_no_items("a list"), Conflict(_sweeps_no_app, "invocations are swept by app: give app_name")),
    ),
    "KernelInvocationSensor": Arguments(
        {"invocation_id": check_named_invocation, "deferrable": check_flag, **_LOG, **OUTPUT, **_CONNECTION},
        conflicts=(JSON_TEXT_HAS_NO_ITEMS,),
    ),
    "KernelInvocationNotifier": Arguments(
        {
            "status": or_none(check_final_status),
            "output": check_json,
            "output_from": or_none(check_name),
            "reason": or_none(check_text),
            "invocation_id": check_named_invocation,
            "max_output_bytes": check_count,
            "context": leave_to_airflow,
            **_CONNECTION,
        },
        conflicts=(
            Conflict(
                lambda values: values.get("output_from") is not None and values.get("output", UNSET) is not UNSET,
                "both output and output_from are given; an invocation has one output: leave one of the two out",
            ),
        ),
    ),
    "KernelInvocationFinishedTrigger": Arguments(
        {
            "app_name": or_none(check_name),
            "action_name": or_none(check_name),
            "version": or_none(check_name),
            "status": or_none(one_of("succeeded", "failed")),
            "poll_interval": check_seconds,
            **_CONNECTION,
        }
    ),
}


def arguments_of(cls: type) -> Arguments:
    """Return the row of a class, or of the class of this package that it is derived from."""
    return next(TABLE[base.__name__] for base in cls.__mro__ if base.__name__ in TABLE)


# --- the use of it ----------------------------------------------------------------------------------------------


def check_arguments(owner: Any, *, default_args: Mapping[str, Any] | None = None) -> None:
    """
    Check the arguments of an object that a DAG file makes. The last act of its ``__init__``.

    :param default_args: what Airflow has taken arguments from that the task itself may not name.
    :raises KernelInputError: for a constant that cannot work.
    :raises AirflowFailException: in a mapped task, which gets its arguments when it runs: no retry mends it.
    """
    cls = type(owner)
    names = (*arguments_of(cls).checks, "multiple_outputs", "do_xcom_push")
    values = {name: getattr(owner, name) for name in names if name in vars(owner)}
    try:
        _check(cls, {**values, "default_args": default_args}, getattr(owner, "task_id", None), owner=owner)
    except KernelInputError as error:
        if getattr(owner, "_BaseOperator__from_mapped", False):
            raise AirflowFailException(f"{type(error).__name__}: {error}") from error
        raise _placed(error) from None


def check_constants(cls: type, given: Mapping[str, Any]) -> None:
    """
    Check arguments of a class of which no object is made when the DAG is parsed, because the task is mapped.

    :param given: those that are known; the others come from the mapping.
    """
    try:
        _check(cls, given, given.get("task_id"))
    except KernelInputError as error:
        raise _placed(error) from None


def check_rendered(owner: Any, name: str, *, template: Any = None, jinja_env: Any = None) -> None:
    """
    Check a template field once it is rendered, by the rule for constants.

    :param template: for a field that is sent as JSON, what it was before: see ``template_results.py``.
    """
    value = getattr(owner, name)
    try:
        arguments_of(type(owner)).checks[name](name, value)
        if template is not None:
            from airflow_provider_kernel.template_results import check_template_results

            check_template_results(name, template, value, jinja_env)
    except KernelInputError as error:
        raise _named(error, type(owner), getattr(owner, "task_id", None)) from None


def _check(cls: type, values: Mapping[str, Any], task_id: Any, owner: Any = None) -> None:
    arguments = arguments_of(cls)
    templated = frozenset(getattr(cls, "template_fields", ()))
    known: dict[str, Any] = {}
    try:
        for name, value in values.items():
            check = arguments.checks.get(name)
            is_text_for_list = check is check_texts and isinstance(value, str)  # also one that is a template
            if name in templated and not is_text_for_list and _comes_later(value, cls, values.get("dag"), owner):
                continue
            known[name] = value
            if check is not None:
                _check_one(check, name, value, is_templated=name in templated)
        for joint in arguments.joint_checks:
            joint(known)
    except KernelInputError as error:
        raise _named(error, cls, task_id) from None
    for conflict in arguments.conflicts:
        if conflict.exists(known):
            raise _named(conflict.says, cls, task_id)


def _check_one(check: Check, name: str, value: Any, *, is_templated: bool) -> None:
    try:
        check(name, value)
    except KernelInputError as error:
        advice = "" if is_templated else _advice(value)
        raise KernelInputError(f"{error}{advice and f'. {advice}'}") from None


def _advice(value: Any) -> str:
    """Say what to write in place of a value that is nearly right, for an argument that is not templated."""
    if is_pending(value) or (isinstance(value, str) and _starts_template(value, _TEMPLATE_STARTS.values())):
        return "It is not templated: give a constant"
    if isinstance(value, timedelta):
        return f"Write its seconds, {value.total_seconds():g}"
    if isinstance(value, str) and (value.strip().isdecimal() or value in ("True", "False")):
        return f"Write {value.strip()}, without quotes"
    return ""


def _named(problem: KernelInputError | str, cls: type, task_id: Any) -> KernelInputError:
    name = cls.__name__ if task_id is None else f"{cls.__name__} {task_id}"
    return KernelInputError(f"{name}: {problem}")


def _placed(error: KernelInputError) -> KernelInputError:
    """Name the line of the DAG file: Airflow shows the last two frames of an import error, which are ours."""
    ours = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), str(Path(__file__).parent))
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith((*ours, "<")):
        frame = frame.f_back
    if frame is None:
        return error
    return KernelInputError(f"{error} ({Path(frame.f_code.co_filename).name}, line {frame.f_lineno})")


def _comes_later(value: Any, cls: type, dag: Any, owner: Any) -> bool:
    """Tell whether the value of a template field is known only when the task runs."""
    if is_pending(value) or callable(value):
        return True
    if not isinstance(value, str):
        return False
    if _starts_template(value, _TEMPLATE_STARTS.values()):
        return True
    extensions = tuple(getattr(cls, "template_ext", None) or ())
    return (bool(extensions) and value.endswith(extensions)) or _starts_template(value, _own_starts(dag, owner))


def _starts_template(text: str, starts: Any) -> bool:
    return any(start in text for start in starts)


def _own_starts(dag: Any, owner: Any) -> Iterator[str]:
    """Return what starts a template in a DAG that has set that."""
    if dag is None and hasattr(owner, "get_dag"):
        dag = owner.get_dag()
    settings = getattr(dag, "jinja_environment_kwargs", None) or {}
    return (settings[name] for name in (*_TEMPLATE_STARTS, "line_statement_prefix") if settings.get(name))
