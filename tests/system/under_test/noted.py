"""What makes an operator and its trigger note when Airflow calls them, and lets a test hold or break them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent

from under_test.notices import note, wait_at_the_gate


class NotedOperator(BaseOperator):
    """
    To be put before an operator class.

    :param gated: whether to wait at the gate in the last moment before the deferral.
    :param airflow_timeout: seconds after which Airflow itself shall end the deferral.
    :param trigger_crashes: whether the trigger shall crash.
    """

    noted_trigger: type[NotedTrigger]
    _noted_ti: Any = None

    def __init__(
        self,
        *,
        gated: bool = False,
        airflow_timeout: float | None = None,
        trigger_crashes: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.gated = gated
        self.airflow_timeout = airflow_timeout
        self.trigger_crashes = trigger_crashes

    def execute(self, context: Any) -> Any:
        self._noted_ti = context["ti"]
        note("execute", self._noted_ti, try_number=self._noted_ti.try_number)
        return super().execute(context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        note("resume", context["ti"], method=next_method)
        return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        note("operator.on_kill", self._noted_ti)
        super().on_kill()

    def defer(self, *, trigger: Any, **kwargs: Any) -> Any:
        arguments = trigger.serialize()[1] | {"crashes": self.trigger_crashes}
        if self.gated:
            wait_at_the_gate(self._noted_ti)
        if self.airflow_timeout is not None:
            kwargs["timeout"] = timedelta(seconds=self.airflow_timeout)
        super().defer(trigger=self.noted_trigger(**arguments), **kwargs)


class NotedTrigger(BaseTrigger):
    """
    To be put before a trigger class.

    :param crashes: whether to crash.
    """

    def __init__(self, *, crashes: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.crashes = crashes

    def serialize(self) -> tuple[str, dict[str, Any]]:
        arguments = super().serialize()[1]
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments | {"crashes": self.crashes}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        note("trigger.run", self.task_instance)
        if self.crashes:
            raise RuntimeError("the trigger crashes, as the test wants")
        async for event in super().run():
            yield event

    async def on_kill(self) -> None:
        note("trigger.on_kill", self.task_instance)
        await super().on_kill()
