"""
The base of triggers that wait for an object which a deferred task owns. It ends the object when a user acts on the
task.

The triggerer calls ``on_kill`` when a user marks or clears a deferred task, but also when another triggerer has
taken the trigger over. So the trigger first asks Airflow whether the task still waits for this object. Only if it
does not, the object is ended.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, ClassVar

from airflow.triggers.base import BaseTrigger

from airflow_provider_kernel import _compat
from airflow_provider_kernel.client.client import AsyncKernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle.ledger import StartRecord
from airflow_provider_kernel.lifecycle.resource import (
    EndableResource,
    EndReason,
    EndReport,
    end_failed,
    try_to_end,
    xcom_key,
)
from airflow_provider_kernel.lifecycle.task_instances import call_from_loop, is_deferred_on, preload_state_api

#: How long to wait for the state of the task; Airflow may be asked about many tasks at once.
_STATE_SECONDS = 60.0
#: The read timeout of an end: a read that hangs must not keep the end from being sent.
_END_READ_SECONDS = 5.0
#: How long an end may take altogether.
_END_SECONDS = 30.0

#: Ends under way. The event loop itself keeps only weak references to its tasks.
_ends: set[asyncio.Task[None]] = set()


class OwningTrigger(BaseTrigger):
    """
    Own the object of a deferred task.

    A subclass waits in ``run()``, and calls :meth:`own`, :meth:`release` and :meth:`on_cancelled` there.
    """

    resource: ClassVar[EndableResource[Any]]

    def __init__(self, *, external_id: str, kernel_conn_id: str, cancel_on_kill: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.external_id = external_id
        self.kernel_conn_id = kernel_conn_id
        self.cancel_on_kill = cancel_on_kill
        self._config: KernelConfig | None = None
        self._is_released = False

    def open_client(self, config: KernelConfig) -> AbstractAsyncContextManager[AsyncKernelClient]:
        """Return a client for an end, which may still be under way when ``run()`` has ended."""
        raise NotImplementedError

    async def own(self) -> KernelConfig:
        """Begin to own the object, and return the connection; to be called first in ``run()``."""
        self._config = await KernelHook(self.kernel_conn_id).aget_config()
        if self.cancel_on_kill and self.task_instance is not None:
            preload_state_api(self.task_instance)
        return self._config

    def release(self) -> None:
        """Leave the object to the worker; to be called before the event. A trigger may linger after its event."""
        self._is_released = True

    async def on_kill(self) -> None:
        """
        End the object, because a user acted on the task.

        The triggerer cancels this call about once a second. So the end is a task of its own, and this waits for it
        through all cancellations.
        """
        # In doubt it ends: a repeated run costs less than an object that nobody waits for.
        await self._end_shielded(if_unknown=True)

    async def on_cancelled(self) -> None:
        """End the object on Airflow below 3.3, which only cancels ``run()``; to be called when it is cancelled."""
        if not _compat.triggers_have_on_kill():
            # The triggerer may just stop, in which case Airflow cannot always be asked.
            await self._end_shielded(if_unknown=False)

    async def _end_shielded(self, *, if_unknown: bool) -> None:
        if self._is_released or not self.cancel_on_kill:
            return
        task = asyncio.create_task(self._end_unless_awaited(if_unknown=if_unknown))
        _ends.add(task)
        task.add_done_callback(_ends.discard)
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:
                continue

    async def _end_unless_awaited(self, *, if_unknown: bool) -> None:
        if await self._is_still_awaited(if_unknown=not if_unknown):
            self.log.info(
                "The task still waits for %s %s elsewhere; it is left alone", self.resource.kind, self.external_id
            )
            return
        try:
            report = await asyncio.wait_for(self._end(), _END_SECONDS)
        except Exception as error:  # noqa: BLE001 (logged here, or nowhere)
            report = end_failed(self.resource.kind, self.external_id, error, text=_text(error))
        report.log(self.log)

    async def _end(self) -> EndReport:
        # run() may have been killed before it had read the connection.
        config = self._config or await KernelHook(self.kernel_conn_id).aget_config()
        config = replace(config, read_timeout=min(config.read_timeout, _END_READ_SECONDS))
        record = StartRecord.naming(self.external_id)
        async with self.open_client(config) as client:
            return await client.run(try_to_end(self.resource, record, EndReason.TASK_KILLED, urgent=True))

    async def _is_still_awaited(self, *, if_unknown: bool) -> bool:
        ti = self.task_instance
        if ti is None:
            return if_unknown
        key = xcom_key(self.resource.kind)
        try:
            answer = call_from_loop(lambda: is_deferred_on(ti, key, self.external_id))
            return await asyncio.wait_for(answer, _STATE_SECONDS)
        except Exception as error:  # noqa: BLE001 (whatever keeps Airflow from answering)
            self.log.warning("The state of the task could not be fetched: %s", _text(error))
            return if_unknown


def _text(error: Exception) -> str:
    return "no answer in time" if isinstance(error, asyncio.TimeoutError) else str(error) or type(error).__name__
