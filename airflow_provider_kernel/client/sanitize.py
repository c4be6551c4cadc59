"""Text that somebody else wrote, made fit to stand in a message or a log line of ours."""

from __future__ import annotations

from typing import Any

LIMIT = 300
_SHOWN_LIMIT = 80


def sanitize_line(text: str, limit: int = LIMIT) -> str:
    """
    Put a text into one line, bounded, with nothing in it that a terminal would obey.

    :param limit: the most characters to keep; what is cut is marked with an ellipsis.
    """
    # More than the limit, as white space is folded; but not all of it, which may be megabytes.
    start = text[: 4 * limit]
    line = " ".join("".join(c if c.isprintable() else " " for c in start).split())
    return line if len(line) <= limit else f"{line[:limit]}…"


def short_repr(value: Any) -> str:
    """Write a value for a message about it, bounded."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        # Python does not write out an int of thousands of digits.
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= _SHOWN_LIMIT else f"{text[:_SHOWN_LIMIT]}…"
