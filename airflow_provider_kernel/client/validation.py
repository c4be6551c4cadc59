"""
What counts as a number, as text, and as missing.

``True`` (for Python an ``int``) and ``nan`` (a ``float``) are no numbers. Half a surrogate pair is no text.
"""

from __future__ import annotations

import math
from typing import Any, TypeGuard

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
