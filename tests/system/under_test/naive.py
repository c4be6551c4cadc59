"""
An operator as one would write it in an afternoon: it cancels in ``on_kill``, remembers nothing, and has no net.

It is here to show that the matrix can tell: the rows that such an operator leaks must fail with it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.sdk import BaseOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_kernel.client.resources.invocations.flows import cancel_invocation
from airflow_provider_kernel.client.resources.invocations.requests import get_invocation
from airflow_provider_kernel.hooks.kernel import KernelHook
from under_test.noted import NotedOperator, NotedTrigger


class NaiveTrigger(BaseTrigger):
    """Look every now and then whether it is over."""

    def __init__(self, *, invocation_id: str, poll_interval: float) -> None:
        super().__init__()
        self.invocation_id = invocation_id
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "", {"invocation_id": self.invocation_id, "poll_interval": self.poll_interval}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        async with await KernelHook().get_async_conn() as client:
            while not (await client.send(get_invocation(self.invocation_id))).is_final:  # noqa: ASYNC110
                await asyncio.sleep(self.poll_interval)
            yield TriggerEvent({"invocation_id": self.invocation_id})

    async def on_kill(self) -> None:
        async with await KernelHook().get_async_conn() as client:
            await client.run(cancel_invocation(self.invocation_id, "killed"))


class NaiveInvokeOperator(BaseOperator):
    """Start it, look until it is over, return the output."""

    template_fields = ("payload",)

    def __init__(
        self,
        *,
        app_name: str,
        action_name: str,
        payload: Any,
        deferrable: bool = False,
        poll_interval: float = 1,
        async_timeout_seconds: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.app_name = app_name
        self.action_name = action_name
        self.payload = payload
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.async_timeout_seconds = async_timeout_seconds
        self.invocation_id: str | None = None

    def execute(self, context: Any) -> Any:
        hook = KernelHook()
        self.invocation_id = hook.invoke(
            self.app_name,
            self.action_name,
            payload=self.payload,
            async_timeout_seconds=self.async_timeout_seconds,
        ).id
        if self.deferrable:
            self.defer(
                trigger=NaiveTrigger(invocation_id=self.invocation_id, poll_interval=self.poll_interval),
                method_name="execute_complete",
            )
        while not hook.get_invocation(self.invocation_id).is_final:
            time.sleep(self.poll_interval)
        return self._result(self.invocation_id)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        return self._result(event["invocation_id"])

    def on_kill(self) -> None:
        if self.invocation_id is not None:
            KernelHook().cancel_invocation(self.invocation_id, "killed")

    def _result(self, invocation_id: str) -> Any:
        invocation = KernelHook().get_invocation(invocation_id)
        if invocation.status != "succeeded":
            raise RuntimeError(f"{invocation_id} is {invocation.status}")
        return invocation.output


class Trigger(NotedTrigger, NaiveTrigger):
    """The trigger."""


class Operator(NotedOperator, NaiveInvokeOperator):
    """The operator."""

    noted_trigger = Trigger


#: Such an operator brings none.
net = None
safety_net: dict[str, Any] = {}
task_net: dict[str, Any] = {}
