"""
The table of arguments: what each class that stands in a DAG file takes, and what excludes what.

Constants are checked by it when the DAG is parsed, those of ``partial()`` too. What a template, another task or a
mapping gives is known only when the task runs, and is then checked by the same rules. Rules of the API are the
client's: they stand in :mod:`airflow_provider_kernel.client.validation` and next to the requests.

The rows are in ``invocation_arguments.py`` and ``browser_arguments.py``, which put them here: a DAG file with
browsers need not load those of invocations.
"""

from __future__ import annotations

import inspect
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from airflow_provider_kernel._compat import AirflowFailException
from airflow_provider_kernel.argument_checks import Check, check_count, check_texts, is_pending, one_of
from airflow_provider_kernel.client.errors import KernelInputError

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


def pushes_items(values: Values) -> bool:
    """Tell whether Airflow is to push each item of the result to XCom."""
    return values.get("multiple_outputs") is True and values.get("do_xcom_push") is not False


JSON_TEXT_HAS_NO_ITEMS = Conflict(
    lambda values: pushes_items(values) and values.get("output_as") == "json_text",
    "multiple_outputs=True needs output_as='value': JSON text has no items to push",
)

OUTPUT: dict[str, Check] = {"max_output_bytes": check_count, "output_as": one_of("value", "json_text")}

#: The rows, by the name of the class.
TABLE: dict[str, Arguments] = {}


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
        if template is not None and value != template:  # else nothing of it was a template
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
