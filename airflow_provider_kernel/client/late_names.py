"""Names of a module that are loaded at their first use: a DAG file that needs one does not load them all."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def late_names(
    present: dict[str, Any], homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """
    Build ``__getattr__`` and ``__dir__`` of a module.

    :param present: its ``globals()``.
    :param homes: the modules in which its late names are defined, by name.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {present['__name__']!r} has no attribute {name!r}")
        value = present[name] = getattr(importlib.import_module(homes[name]), name)
        return value

    def list_names() -> list[str]:
        return sorted({*present, *homes})

    return load, list_names
