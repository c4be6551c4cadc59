"""Text that somebody else wrote, made fit to stand in a message or a log line of ours."""

from __future__ import annotations

LIMIT = 300


def one_line(text: str, limit: int = LIMIT) -> str:
    """
    Put a text into one line, bounded, with nothing in it that a terminal would obey.

    :param text: any text.
    :param limit: the most characters to keep; what is cut is marked with an ellipsis.
    """
    # More than the limit, as white space is folded; but not all of it, which may be megabytes.
    start = text[: 4 * limit]
    line = " ".join("".join(c if c.isprintable() else " " for c in start).split())
    return line if len(line) <= limit else f"{line[:limit]}…"
