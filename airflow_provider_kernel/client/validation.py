"""What counts as a number in an argument: ``True`` (for Python an ``int``) and ``nan`` (a ``float``) do not."""

from __future__ import annotations

import math
from typing import Any, TypeGuard


def is_number(value: Any) -> TypeGuard[int | float]:
    """Tell whether a value is a finite number, and not a bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -math.inf < value < math.inf


def is_whole_number(value: Any) -> TypeGuard[int]:
    """Tell whether a value is an ``int``, and not a bool."""
    return isinstance(value, int) and not isinstance(value, bool)
