"""The event of an invocation's trigger. Only a triggerer makes one, and Pydantic takes long to define it."""

from __future__ import annotations

from typing import Any

from airflow.triggers.base import TriggerEvent


class InvocationEvent(TriggerEvent):
    """The event of the trigger that waits for an invocation. Airflow logs it, and a result is not for the log."""

    def __init__(self, payload: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(payload, **kwargs)  # type: ignore[no-untyped-call]

    def __repr__(self) -> str:
        shown = {name: value for name, value in self.payload.items() if name != "invocation"}
        return f"{type(self).__name__}<{shown!r}>"

    __str__ = __repr__
