"""The XCom keys of a task that owns an object, and two defaults: what most DAG files load of this room."""

from __future__ import annotations

DEFAULT_CANCEL_ON_KILL = True
DEFAULT_WAIT_FOR_COMPLETION = True


def xcom_key(kind: str) -> str:
    """Name the XCom under which a task publishes the id of what it owns."""
    return f"{kind}_id"


def ownership_key(kind: str) -> str:
    """Name the XCom that holds a task's ownership record."""
    return f"kernel_{kind}_owner"
