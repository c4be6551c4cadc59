"""
Make untrusted text safe for an error message or a log line.

Untrusted is whatever this package did not write itself: what the API answers, the marks of other invocations, the
arguments and templates of users, exceptions. A log page, a terminal or a CI runner must take it for text.
``SafeLogger`` and ``KernelError`` escape whole records and messages, so no other module has to.
"""

from __future__ import annotations

import re
from typing import Any

from airflow_provider_kernel.client.redaction import mask_start

#: The most characters of a text that are kept. Kernel cuts log lines at 64 KiB; the rest is for what goes with one.
MAX_LENGTH = 64 * 1024 + 1024

_SHOWN_LIMIT = 80

# Patterns as text: every DAG file loads this module, and few need them.
#: Printable to Python, but shown as nothing: fillers, joiners, and selectors that can carry a hidden text.
_INVISIBLE = (
    "[\N{COMBINING GRAPHEME JOINER}\N{HANGUL CHOSEONG FILLER}\N{HANGUL JUNGSEONG FILLER}\N{HANGUL FILLER}"
    "\N{HALFWIDTH HANGUL FILLER}\N{KHMER VOWEL INHERENT AQ}\N{KHMER VOWEL INHERENT AA}"
    "\N{MONGOLIAN FREE VARIATION SELECTOR ONE}-\N{MONGOLIAN VOWEL SEPARATOR}"
    "\N{VARIATION SELECTOR-17}-\N{VARIATION SELECTOR-256}]"
)
#: Airflow's log page folds the lines between ``::group::`` and ``::endgroup::``, wherever in a line they are. CI
#: runners obey these and more commands (``::error file=x::``, ``##[error]``).
_COMMAND = (
    r":(?=:(?:end)?group::)"
    r"|(?<!\w):(?=:(?:add-mask|add-matcher|add-path|debug|echo|error|notice|remove-matcher|save-state|set-env"
    r"|set-output|stop-commands|warning)(?:::| ))"
    r"|#(?=#\w*\[)"
)


def escape_untrusted(text: str) -> str:
    r"""
    Escape a text, so that it is one line which shows all that it holds, of at most :data:`MAX_LENGTH` characters.
    API keys of this process become ``***``.

    Characters that cannot be seen (line breaks, terminal controls, writing direction, zero width) become escapes
    such as ``\n`` and ``\u202e``; so does the first character of a command to a log page or a CI runner. Tabs stay.
    A text that is escaped already stays as it is.
    """
    left_out = len(text) - MAX_LENGTH
    text = mask_start(text, MAX_LENGTH)
    if not text.isprintable():
        text = "".join(c if c.isprintable() or c == "\t" else _escape(c) for c in text)
    if not text.isascii():
        text = re.sub(_INVISIBLE, lambda found: _escape(found[0]), text)
    if "::" in text or "#" in text:
        text = re.sub(_COMMAND, lambda found: f"\\x{ord(found[0]):02x}", text)
    return f"{text}… ({left_out} more characters)" if left_out > 0 else text


def sanitize_line(text: str, limit: int = 300) -> str:
    """
    Turn a text into one short line: white space is folded, and what cannot be seen is left out.

    :param limit: the most characters to keep; what is cut is marked with an ellipsis.
    """
    # White space is folded, so more than the limit is read; not everything, which may be megabytes.
    start = mask_start(text, 4 * limit)
    line = escape_untrusted(" ".join("".join(c if c.isprintable() else " " for c in start).split()))
    return line if len(line) <= limit else f"{line[:limit]}…"


def short_repr(value: Any) -> str:
    """Write a value for a message about it, bounded."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        # repr() of an int of thousands of digits is an error.
        return f"a value of type {type(value).__name__}"
    text = mask_start(text, _SHOWN_LIMIT + 1)
    return text if len(text) <= _SHOWN_LIMIT else f"{text[:_SHOWN_LIMIT]}…"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
