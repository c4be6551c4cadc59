"""Make untrusted text safe for an error message or a log line."""

from __future__ import annotations

from typing import Any

_SHOWN_LIMIT = 80


def sanitize_line(text: str, limit: int = 300) -> str:
    """
    Turn a text into one line of bounded length, without control characters.

    :param limit: the most characters to keep; what is cut is marked with an ellipsis.
    """
    # White space is folded, so more than the limit is read; not everything, which may be megabytes.
    start = text[: 4 * limit]
    line = " ".join("".join(c if c.isprintable() else " " for c in start).split())
    return line if len(line) <= limit else f"{line[:limit]}…"


def short_repr(value: Any) -> str:
    """Write a value for a message about it, bounded."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        # repr() of an int of thousands of digits is an error.
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= _SHOWN_LIMIT else f"{text[:_SHOWN_LIMIT]}…"
