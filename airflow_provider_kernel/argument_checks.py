"""The checks of one argument. Each refuses a wrong value, and says what is given and what is allowed."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.client.sanitize import short_repr
from airflow_provider_kernel.client.unset import UNSET
from airflow_provider_kernel.client.validation import check_id, is_missing, is_number, is_unicode, is_whole_number

#: Refuses a wrong value of an argument of this name.
Check = Callable[[str, Any], object]


def leave_to_airflow(name: str, value: Any) -> None:
    """Leave the check to Airflow's own class."""


def _refuse(name: str, value: Any, allowed: str) -> None:
    raise KernelInputError(f"{name} is {short_repr(value)}; it takes {allowed}")


def check_flag(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        _refuse(name, value, "True or False")


def check_seconds(name: str, value: Any) -> None:
    if not is_number(value) or value <= 0:
        _refuse(name, value, "seconds above 0")


def check_count(name: str, value: Any) -> None:
    if not is_whole_number(value) or value < 0:
        _refuse(name, value, "a whole number from 0")


def check_text(name: str, value: Any) -> None:
    if not isinstance(value, str):
        _refuse(name, value, "text")


def check_key(name: str, value: Any) -> None:
    if not isinstance(value, str) or not value:
        _refuse(name, value, "text that is not empty: the key of the mark in the payload, such as '_airflow'")


def check_texts(name: str, value: Any) -> None:
    if isinstance(value, str):
        raise KernelInputError(
            f"{name} is the text {short_repr(value)}; give a list, such as [{short_repr(value)}]"
        )
    if not isinstance(value, (list, tuple)) or not all(is_pending(item) or isinstance(item, str) for item in value):
        _refuse(name, value, "a list of texts")


def check_age(name: str, value: Any) -> None:
    from airflow_provider_kernel.client.timestamps import earliest_time, utc_now

    if not isinstance(value, str) or earliest_time(value, utc_now()) is None:
        _refuse(name, value, "a duration such as '2h', '1h30m' or '90s', or an RFC 3339 time with its zone")


def check_json(name: str, value: Any) -> None:
    """Refuse what JSON cannot hold, NaN and infinity among it, but for what other tasks give later."""
    if value is None or value is UNSET or isinstance(value, str):
        return
    from airflow_provider_kernel.client.json_encoding import to_json_text

    try:
        to_json_text(value, what=name)
    except KernelInputError:
        try:
            constants = _constants_of(value)
        except RecursionError:
            constants = value
        to_json_text(constants, what=name)


def check_script_args(name: str, value: Any) -> None:
    """Refuse what JSON cannot hold, and what a script could not get as it is."""
    check_json(name, value)
    if not _is_text_throughout(value):
        raise KernelInputError(f"{name} holds half of a surrogate pair, which is no character. Leave it out")


def _is_text_throughout(value: Any) -> bool:
    if isinstance(value, str):
        return is_unicode(value)
    if isinstance(value, dict):
        return all(_is_text_throughout(key) and _is_text_throughout(item) for key, item in value.items())
    return not isinstance(value, (list, tuple)) or all(map(_is_text_throughout, value))


def _constants_of(value: Any) -> Any:
    if is_pending(value):
        return None
    if isinstance(value, dict):
        return {key: _constants_of(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_constants_of(item) for item in value]
    return value


def one_of(*allowed: Any) -> Check:
    words = [repr(item) for item in allowed]
    text = f"{', '.join(words[:-1])} or {words[-1]}"

    def check(name: str, value: Any) -> None:
        if not any(value is item or (isinstance(value, str) and value == item) for item in allowed):
            _refuse(name, value, text)

    return check


def some_of(*allowed: str) -> Check:
    text = f"a list with one or more of {', '.join(map(repr, allowed))}"

    def check(name: str, value: Any) -> None:
        if isinstance(value, str) or not isinstance(value, (list, tuple)) or not value or set(value) - {*allowed}:
            _refuse(name, value, text)

    return check


def or_none(check: Check) -> Check:
    def check_unless_none(name: str, value: Any) -> None:
        if value is not None:
            try:
                check(name, value)
            except KernelInputError as error:
                raise KernelInputError(f"{error}, or None") from None

    return check_unless_none


def check_named_invocation(name: str, value: Any) -> None:
    if is_missing(value):
        _refuse(
            name, value, "the id of an invocation, or where to take it from: a template, or another task's output"
        )
    if isinstance(value, (list, tuple)):
        raise KernelInputError(f"{name} is {short_repr(value)}; it takes one id. Map the task: .expand({name}=...)")
    check_id(name, value)


def is_pending(value: Any) -> bool:
    """Tell whether Airflow puts another value in its place when the task runs, such as another task's output."""
    return not isinstance(value, os.PathLike) and callable(getattr(value, "resolve", None))
