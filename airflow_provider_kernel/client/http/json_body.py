"""
The JSON of an answer, read strictly and fast, and only if that fails leniently.

The lenient way accepts a byte order mark, another encoding that is plain from the body or its ``charset``, half a
surrogate pair, deeper nesting and longer numbers. It gives Python values, for
:func:`~airflow_provider_kernel.client.http.model.read_leniently`.
"""

from __future__ import annotations

import json
import re
from typing import Any

_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([\w.:-]+)", re.IGNORECASE)
#: Encodings that are used for a body if its ``charset`` names them. No others: some of Python's take very long.
_CHARSETS = {
    "iso-8859-1": "latin-1",
    "latin1": "latin-1",
    "us-ascii": "latin-1",
    "windows-1252": "cp1252",
}


def load_json(body: bytes, content_type: str | None) -> Any:
    """
    Read a body.

    :raises ValueError: when it is not JSON.
    :raises RecursionError: when it is nested too deeply.
    """
    return load_text(_decode(body, content_type or ""))


def load_text(text: str) -> Any:
    """Read text as :func:`load_json` does a body."""
    try:
        return json.loads(text.removeprefix("\ufeff"), parse_int=_parse_int)
    except json.JSONDecodeError as error:
        problem = error.msg
    # Raised outside of the handler: the library's error holds the whole text, and with it perhaps the key.
    raise ValueError(problem)


def _decode(body: bytes, content_type: str) -> str:
    try:
        return body.decode(json.detect_encoding(body))
    except UnicodeDecodeError:
        match = _CHARSET.search(content_type)
        encoding = _CHARSETS.get(match.group(1).lower()) if match else None
        # What is no text becomes halves of surrogate pairs, which no field but the output takes.
        return body.decode(encoding, "replace") if encoding else body.decode("utf-8", "surrogateescape")


def _parse_int(digits: str) -> int | float:
    # int() refuses thousands of digits.
    return int(digits) if len(digits) < 1000 else float(digits)
