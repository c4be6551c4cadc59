"""Names of a module that are loaded at their first use: a DAG file that needs one does not load them all."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def late_names(module: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """
    Build ``__getattr__`` and ``__dir__`` of a module.

    :param module: its name.
    :param homes: the modules in which its late names are defined, by name.
    """
    present = vars(sys.modules[module])

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        value = present[name] = getattr(importlib.import_module(homes[name]), name)
        return value

    def list_names() -> list[str]:
        return sorted({*present, *homes})

    return load, list_names
