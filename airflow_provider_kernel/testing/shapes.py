"""Checks of JSON bodies, put together from small ones; each refuses with a 400."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from airflow_provider_kernel.testing.errors import invalid

#: Takes the name of a value and the value, and raises an `ApiError`.
Check = Callable[[str, Any], None]


def anything(name: str, value: Any) -> None:
    """Take any value."""


def boolean(name: str, value: Any) -> None:
    """Take true and false."""
    if not isinstance(value, bool):
        raise invalid(f"{name} must be true or false")


def any_object(name: str, value: Any) -> None:
    """Take any JSON object."""
    if not isinstance(value, dict):
        raise invalid(f"{name} must be a JSON object")


def text(pattern: str | None = None, *, least: int = 0) -> Check:
    """
    Take a string.

    :param pattern: a regular expression for the whole of it.
    :param least: the fewest characters.
    """
    compiled = None if pattern is None else re.compile(pattern, re.ASCII | re.DOTALL)

    def check(name: str, value: Any) -> None:
        if not isinstance(value, str):
            raise invalid(f"{name} must be a string")
        if len(value) < least:
            raise invalid(f"{name} must have at least {least} characters")
        if compiled is not None and not compiled.fullmatch(value):
            raise invalid(f"{name} must match {pattern}")

    return check


def choice(*allowed: str) -> Check:
    """Take one of some strings."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, str) or value not in allowed:
            raise invalid(f"{name} must be one of {', '.join(allowed)}")

    return check


def whole(least: int | None = None, most: int | None = None) -> Check:
    """Take a whole number; to JSON, 60.0 is one too."""
    bounds = "" if least is None else f" of at least {least}" if most is None else f" from {least} to {most}"

    def check(name: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value // 1:
            raise invalid(f"{name} must be a whole number{bounds}")
        if (least is not None and value < least) or (most is not None and value > most):
            raise invalid(f"{name} must be a whole number{bounds}")

    return check


def maybe(inner: Check) -> Check:
    """Take null, too."""

    def check(name: str, value: Any) -> None:
        if value is not None:
            inner(name, value)

    return check


def items(inner: Check, *, least: int = 0, most: int | None = None) -> Check:
    """Take a list."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, list):
            raise invalid(f"{name} must be a list")
        if len(value) < least or (most is not None and len(value) > most):
            raise invalid(f"{name} must have {least} to {most} entries")
        for number, each in enumerate(value):
            inner(f"{name}[{number}]", each)

    return check


def mapping(key: Check, inner: Check, *, most: int | None = None) -> Check:
    """Take an object with keys of the caller's choice."""

    def check(name: str, value: Any) -> None:
        any_object(name, value)
        if most is not None and len(value) > most:
            raise invalid(f"{name} must have at most {most} entries")
        for each, belonging in value.items():
            key(f"a key of {name}", each)
            inner(f"{name}[{each!r}]", belonging)

    return check


def fields(
    known: Mapping[str, Check],
    *,
    required: Collection[str] = (),
    exactly_one: Collection[str] = (),
    closed: bool = False,
) -> Check:
    """
    Take an object with known fields.

    :param required: fields that must be there.
    :param exactly_one: fields of which one must be there.
    :param closed: whether another field is refused.
    """

    def check(name: str, value: Any) -> None:
        any_object(name, value)
        prefix = f"{name}." if name else ""
        for field in required:
            if field not in value:
                raise invalid(f"Missing required field: {prefix}{field}")
        if exactly_one and len(value.keys() & set(exactly_one)) != 1:
            raise invalid(f"{name} must have exactly one of {', '.join(sorted(exactly_one))}")
        if closed and value.keys() - known.keys():
            unknown = ", ".join(sorted(value.keys() - known.keys()))
            raise invalid(f"Unknown field: {unknown}; the fields are {', '.join(known)}")
        for field, inner in known.items():
            if field in value:
                inner(f"{prefix}{field}", value[field])

    return check
