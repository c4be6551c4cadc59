"""The marker for an argument that was not given, where ``None`` is a value. Imports nothing: DAG files use it."""

from __future__ import annotations

from enum import Enum


class Unset(Enum):
    """The type of :data:`UNSET`."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return "UNSET"

    __str__ = __repr__  # what Airflow shows as the rendered template

    def __bool__(self) -> bool:
        return False


#: "Not given", where ``None`` is a value: ``output=None`` sends ``null``, leaving it out sends nothing.
UNSET = Unset.UNSET
