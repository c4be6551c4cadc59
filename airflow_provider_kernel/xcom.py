"""
What a task may hand to other tasks: values that XCom gives back as they were.

Airflow takes some dicts in XCom for Python objects, and makes these objects in the next task. Other values are
refused by the link between a task and its supervisor, or by one of the databases; that is after the task's work, so
a retry would run the action again. Outputs are therefore checked first, by one rule for all versions of Airflow and
all databases.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.client.json_encoding import (
    Unreadable,
    is_json,
    parse_json_exactly,
    size_in_bytes,
    to_json_text,
)
from airflow_provider_kernel.client.resources.invocations.errors import KernelOutputError, KernelOutputTooLargeError
from airflow_provider_kernel.client.sanitize import sanitize_line, short_repr
from airflow_provider_kernel.client.validation import is_unicode
from airflow_provider_kernel.lifecycle.names import ownership_key, xcom_key

if TYPE_CHECKING:
    from airflow_provider_kernel.client.resources.invocations.state import InvocationState

#: How deep lists and dicts may be nested. MySQL stores 99 levels, Airflow's link to the supervisor some 200.
MAX_DEPTH = 90
#: The integers that the link can carry: signed and unsigned ones of 64 bits.
_MIN_INT, _MAX_INT = -(2**63), 2**64 - 1
#: How long a key of a dict may be in MySQL's JSON, in bytes.
_MAX_KEY_BYTES = 65_535

_WHOLE_PLACE, _KEY_IN_PLACE, _TEXT = 200, 40, 500
# Not compiled here: few outputs need them.
_SIMPLE_KEY = r"[A-Za-z_][A-Za-z0-9_]{0,39}"
_NOT_ASCII = r"[^\x00-\x7f]+"

#: A key of its own in XCom: part of a URL of Airflow's, and of an index of MySQL, which ignores a space at the end.
_XCOM_KEY = r"(?!\.+\Z)[\w.-](?:[\w .-]{0,248}[\w.-])?"
_LINK_PREFIX = "_link_"
_RESERVED = {"return_value", xcom_key("invocation"), xcom_key("browser")}

_AS_TEXT = 'Set output_as="json_text" on the task to get the output as JSON text'
_OTHER_KEYS = "Rename the key in the action, or set multiple_outputs=False on the task"
_MAPPABLE = (
    "Map over a list or dict: one that the action returns, or one that a task in between makes of its output"
)
_OTHER_RETURNED_KEYS = (
    "Return a dict with other keys, or set multiple_outputs=False on the task (a function that is annotated with "
    "-> dict has it by default)"
)
_MAPPABLE_RETURNED = "Return a list or dict, or map over what a task in between makes of it"
_NO_XCOM = "Set do_xcom_push=False on the task if no other task needs its result"

_OF_THE_TASK = "is an XCom key that belongs to the task itself"
_TOO_DEEP = f"is nested more than {MAX_DEPTH} levels deep"
_TOO_LARGE = "is a number beyond 64 bits"


def hand_on(
    invocation: InvocationState,
    *,
    output_as: str,
    is_pushed: bool,
    multiple_outputs: bool,
    is_mapped_over: bool = False,
) -> Any:
    """
    Turn the output of an invocation that has succeeded into what its task returns.

    :param output_as: ``"value"`` or ``"json_text"``.
    :param is_pushed: whether Airflow pushes it to XCom; else it may be any value.
    :param multiple_outputs: whether Airflow also pushes each item of the output under its own key.
    :param is_mapped_over: whether another task of the DAG is mapped over it.
    :raises KernelOutputError: when XCom would not give it back as it is, or Airflow cannot map over it.
    """
    value = _hand_on(invocation, output_as=output_as, is_pushed=is_pushed, multiple_outputs=multiple_outputs)
    if is_mapped_over and (found := find_unmappable(value, is_pushed=is_pushed)) is not None:
        raise _error(invocation, *found, advice=_MAPPABLE)
    return value


def _hand_on(invocation: InvocationState, *, output_as: str, is_pushed: bool, multiple_outputs: bool) -> Any:
    if output_as == "json_text":
        return as_json_text(invocation.output)
    if not is_pushed:
        return invocation.parsed_output()
    value = None if invocation.output is None else parse_json_exactly(invocation.output)
    if (found := find_unfit(value)) is not None:
        raise _error(invocation, *found, advice=_AS_TEXT)
    # Airflow pushes no None.
    if multiple_outputs and value is not None and (found := _find_unfit_key(value)) is not None:
        raise _error(invocation, *found, advice=_OTHER_KEYS)
    return value


def hand_on_result(
    value: Any,
    *,
    max_output_bytes: int,
    output_as: str,
    is_pushed: bool,
    multiple_outputs: bool,
    is_mapped_over: bool = False,
) -> Any:
    """
    Turn what a script has returned into what its task returns. The arguments are those of :func:`hand_on`.

    :param value: any JSON value.
    :param max_output_bytes: the limit of its JSON text, if it is pushed.
    :raises KernelOutputError: when XCom would not give it back as it is, or Airflow cannot map over it.
    """
    text = to_json_text(value, what="result")
    if is_pushed and size_in_bytes(text) > max_output_bytes:
        raise KernelOutputTooLargeError(
            f"The script succeeded, but its result has {size_in_bytes(text):,} bytes and this task keeps at most "
            f"{max_output_bytes:,}. Raise max_output_bytes, or let the script return less"
        )
    found, advice = None, _AS_TEXT.replace("output as", "result as")
    if output_as == "json_text":
        value = as_json_text(text)
    elif is_pushed:
        found = find_unfit(value)
        if found is None and multiple_outputs and value is not None:
            found, advice = _find_unfit_key(value), _OTHER_KEYS.replace("action", "script")
    if found is None and is_mapped_over:
        found, advice = find_unmappable(value, is_pushed=is_pushed), _MAPPABLE.replace("action", "script")
    if found is not None:
        error = KernelOutputError(
            f"The script succeeded, but its result cannot be put into XCom: {' '.join(found)}"
        )
        error.advice = advice
        raise error
    return value


def hand_on_response(invocation: InvocationState, *, is_pushed: bool, multiple_outputs: bool) -> Any:
    """Turn the output with which an earlier try has ended an invocation into what this try returns."""
    try:
        return hand_on(invocation, output_as="value", is_pushed=is_pushed, multiple_outputs=multiple_outputs)
    except KernelOutputError as error:
        error.advice = _NO_XCOM
        raise


def check_returned(value: Any, *, is_pushed: bool, multiple_outputs: bool, is_mapped_over: bool = False) -> None:
    """
    Check what a task's function has returned, before it becomes the output of an invocation and goes into XCom.

    It may hold what an app or a page of the web has said, and Airflow would push it only after the answer.

    :param value: what JSON can hold.
    :param is_pushed: whether Airflow pushes it to XCom; else it may be any value.
    :param multiple_outputs: whether Airflow also pushes each item of it under its own key.
    :param is_mapped_over: whether another task of the DAG is mapped over it.
    :raises KernelInputError: when XCom would not give it back as JSON does, or Airflow cannot push its items or map
        over it.
    """
    found, advice = None, _NO_XCOM
    if is_pushed:
        found = find_unfit(parse_json_exactly(to_json_text(value, what="output")))
        if found is None and multiple_outputs and value is not None:
            found, advice = _find_unfit_key(value, needs="a dict"), _OTHER_RETURNED_KEYS
    if found is None and is_mapped_over:
        found, advice = find_unmappable(value, is_pushed=is_pushed), _MAPPABLE_RETURNED
    if found is not None:
        raise KernelInputError(f"The return value cannot be put into XCom: {' '.join(found)}. {advice}")


def find_unmappable(value: Any, *, is_pushed: bool) -> tuple[str, str] | None:
    """
    Find why Airflow cannot map a task over a value. It would say so after the task's work, and with a retry.

    :return: as :func:`find_unfit`.
    """
    from airflow_provider_kernel._compat import conf

    if not is_pushed:
        return "$", "is not pushed (do_xcom_push=False), and a task is mapped over it"
    if not isinstance(value, (list, tuple, dict)):
        return "$", f"is of type {type(value).__name__}, and a task is mapped over it"
    # The API server has this setting, too, and refuses by its own.
    longest = conf.getint("core", "max_map_length", fallback=1024)
    if len(value) > longest:
        return "$", (
            f"has {len(value):,} items, and a task is mapped over it; Airflow maps over {longest:,} at most "
            "([core] max_map_length)"
        )
    return None


def as_json_text(output: str | None) -> str:
    """
    Write an output as JSON in ASCII, which XCom takes whatever it says.

    :param output: JSON is kept to the last digit. Other text becomes a JSON string; so does JSON that is nested too
        deeply to be read. ``None`` becomes ``null``.
    """
    if output is None:
        return "null"
    if not is_json(output):
        return json.dumps(output)
    # Outside of strings, JSON is ASCII.
    return re.sub(_NOT_ASCII, lambda found: json.dumps(found[0])[1:-1], output)


def find_unfit(value: Any) -> tuple[str, str] | None:
    """
    Find what XCom would not give back as it is.

    :return: its place, such as ``$.rows[3].title``, and the problem as the end of a sentence; ``None`` for a value
        without any. Both are safe to show.
    """
    keys: list[Any] = []
    levels: list[Iterator[tuple[Any, Any]]] = [iter((("$", value),))]
    while levels:
        for key, item in levels[-1]:
            problem = _problem_of(item)
            if problem is None and isinstance(item, (dict, list)) and len(levels) > MAX_DEPTH:
                problem = _TOO_DEEP
            if problem is not None:
                return _place([*keys, key]), problem
            if isinstance(item, (dict, list)):
                keys.append(key)
                levels.append(iter(item.items() if isinstance(item, dict) else enumerate(item)))
                break
        else:
            levels.pop()
            del keys[-1:]
    return None


def storable_text(text: str) -> str:
    """Return a text of the API as it is if XCom and asset events take it, else without what they do not take."""
    return text if len(text) <= _TEXT and _problem_of_text(text) is None else sanitize_line(text, _TEXT)


def _problem_of(item: Any) -> str | None:
    if item is None or isinstance(item, bool):
        return None
    if isinstance(item, str):
        return _problem_of_text(item)
    if isinstance(item, int):
        return None if _MIN_INT <= item <= _MAX_INT else _TOO_LARGE
    if isinstance(item, float):
        # Postgres stores 1e+20 as an integer, and gives back an integer. At the ends, 17 digits may be too many.
        return None if float(_MIN_INT) < item < float(_MAX_INT) else _TOO_LARGE
    if isinstance(item, dict):
        return _problem_of_keys(item)
    if isinstance(item, list):
        return None
    if isinstance(item, Unreadable):
        return _TOO_DEEP if item is Unreadable.TOO_DEEP else _TOO_LARGE
    return f"is a value of type {type(item).__name__}"


def _problem_of_text(text: str) -> str | None:
    if "\0" in text:
        return "has the character NUL"
    return None if is_unicode(text) else "has half of a surrogate pair, which is no character"


def _problem_of_keys(item: dict[Any, Any]) -> str | None:
    if "__classname__" in item or "__id__" in item or ("__type" in item and "__var" in item):
        return (
            "has keys that make Airflow take it for a Python object (__classname__, __id__, or __type with __var)"
        )
    for key in item:
        if not isinstance(key, str):
            return f"has a key of type {type(key).__name__}"
        if (problem := _problem_of_text(key)) is not None:
            return f"has a key that {problem}"
        if len(key) > _MAX_KEY_BYTES // 4 and len(key.encode()) > _MAX_KEY_BYTES:
            return f"has a key of more than {_MAX_KEY_BYTES:,} bytes"
    return None


def _find_unfit_key(value: Any, *, needs: str = "a JSON object") -> tuple[str, str] | None:
    """Find what Airflow would not push under a key of its own, or not without harm to the task."""
    if not isinstance(value, Mapping):
        return "$", f"is of type {type(value).__name__}, and multiple_outputs=True needs {needs}"
    for key in value:
        if not isinstance(key, str):
            return (
                "$",
                f"has a key of type {type(key).__name__}, and multiple_outputs=True needs keys that are text",
            )
        if _is_of_the_task(key):
            return _place(["$", key]), _OF_THE_TASK
        if not re.fullmatch(_XCOM_KEY, key) or max(key) > "\uffff":
            return (
                _place(["$", key]),
                "cannot be an XCom key of its own, which has up to 250 letters, digits, '_', '-', '.' and ' '",
            )
    return None


def _is_of_the_task(key: str) -> bool:
    # Databases may compare keys without case.
    folded = key.casefold()
    return folded in _RESERVED or folded.startswith(_LINK_PREFIX) or fnmatchcase(folded, ownership_key("*"))


def _place(keys: list[Any]) -> str:
    place = "$"
    for key in keys[1:]:
        if isinstance(key, str) and re.fullmatch(_SIMPLE_KEY, key):
            place += f".{key}"
        else:
            place += f"[{short_repr(sanitize_line(key, _KEY_IN_PLACE)) if isinstance(key, str) else key}]"
    if len(place) <= _WHOLE_PLACE:
        return place
    half = _WHOLE_PLACE // 2
    return f"{place[:half]}…{place[-half:]}"


def _error(invocation: InvocationState, place: str, problem: str, *, advice: str) -> KernelOutputError:
    error = KernelOutputError(
        f"Invocation {invocation.id} succeeded, but its output cannot be put into XCom: {place} {problem}. The "
        "output can still be read with KernelHook.get_invocation"
    )
    error.advice = advice
    return error
