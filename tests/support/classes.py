"""Loading a class by its path, as a triggerer does; Airflow's own function for it has moved between versions."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def load_class(path: str) -> Any:
    """Load a class by its dotted path."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)
