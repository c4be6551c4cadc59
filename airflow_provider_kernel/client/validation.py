"""
What counts as a number, as text, as missing, as a name and as an id.

``True`` (for Python an ``int``) and ``nan`` (a ``float``) are no numbers. Half a surrogate pair is no text.
"""

from __future__ import annotations

import math
from typing import Any, TypeGuard

from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.client.sanitize import short_repr

#: Far above any id or name; servers and proxies refuse very long addresses.
LONGEST_NAME = 500
_EMPTY_TEMPLATE_HINT = "a template probably found no value: check the XCom or conf that it reads"
#: What a template that finds no value renders to, where its result is text.
EMPTY_TEMPLATES = ("None", "null")


def is_number(value: Any) -> TypeGuard[int | float]:
    """Tell whether a value is a finite number, and not a bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -math.inf < value < math.inf


def is_whole_number(value: Any) -> TypeGuard[int]:
    """Tell whether a value is an ``int``, and not a bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_unicode(text: str) -> bool:
    """Tell whether a ``str`` can be written as UTF-8: it holds no half of a surrogate pair."""
    try:
        text.isascii() or text.encode()  # faster than a look at each character
    except UnicodeEncodeError:
        return False
    return True


def is_missing(value: Any) -> bool:
    """Tell whether an id or a name is not there: ``None``, no text, or what a template found no value for."""
    return value is None or (isinstance(value, str) and (not value.strip() or value in EMPTY_TEMPLATES))


def check_name(what: str, value: Any) -> str:
    """Refuse what cannot be the name of an app, an action or the like."""
    if not isinstance(value, str) or not value.strip():
        raise KernelInputError(f"{what} is {short_repr(value)}; it must be a name, and not empty")
    if value in EMPTY_TEMPLATES:
        raise KernelInputError(f"{what} is {value!r}: {_EMPTY_TEMPLATE_HINT}")
    if len(value) > LONGEST_NAME:
        raise KernelInputError(f"{what} is {short_repr(value)}; a name has {LONGEST_NAME} characters at most")
    return value


def check_id(what: str, value: Any) -> str:
    """Refuse what cannot be an id, or would address something else in a path."""
    hint: str | None = None
    if not isinstance(value, str):
        hint = f"it is of type {type(value).__name__}, not text"
    elif not value.strip():
        hint = "it is empty"
    elif value in EMPTY_TEMPLATES:
        hint = _EMPTY_TEMPLATE_HINT
    elif value in (".", "..") or "/" in value or "\\" in value:
        hint = "it has a slash or is a path, not one id"
    elif not value.isprintable() or value != value.strip():
        hint = "it has line breaks, control characters, or space at an end"
    elif len(value) > LONGEST_NAME:
        hint = f"it has {len(value)} characters; an id has {LONGEST_NAME} at most"
    if hint:
        raise KernelInputError(f"{what} is {short_repr(value)}, which cannot be an id: {hint}")
    return str(value)
