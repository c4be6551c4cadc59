"""Globs over request paths."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=256)
def _compiled(glob: str) -> re.Pattern[str]:
    if glob in ("*", "**"):
        return re.compile(".*", re.DOTALL)
    if not glob.startswith("/"):
        raise ValueError(f"path is {glob!r}; it must begin with / (such as /invocations/*), or be * for every path")
    parts = re.split(r"(\*\*|\*)", glob)
    wild = {"*": "[^/]*", "**": ".*"}
    return re.compile("".join(wild.get(part, re.escape(part)) for part in parts), re.DOTALL)


def path_matches(glob: str | None, path: str) -> bool:
    """
    Return whether a path matches a glob.

    :param glob: `*` matches within one segment, `**` across segments; a lone `*` or None matches every path.
    :param path: the path, without the query.
    """
    return glob is None or _compiled(glob).fullmatch(path) is not None


def method_of(scope: Mapping[str, Any]) -> str:
    """Return the method of a request; that of a websocket's handshake is GET."""
    return str(scope.get("method", "GET"))


def method_matches(wanted: str | None, method: str) -> bool:
    """
    Return whether a method matches.

    :param wanted: a method, or `*` or None for any.
    """
    return wanted in (None, "*") or str(wanted).upper() == method.upper()
