"""The trigger for event-driven scheduling: a DAG runs when an invocation finishes."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_kernel import _compat
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.errors import KernelConfigurationError, KernelError
from airflow_provider_kernel.client.outage import Outage
from airflow_provider_kernel.client.resources.invocations.completions import (
    CompletionPoller,
    DeliveryCursor,
    Finished,
    Snapshot,
)
from airflow_provider_kernel.client.safe_logger import SafeLogMixin, get_logger
from airflow_provider_kernel.client.timestamps import utc_now
from airflow_provider_kernel.connection_form import DEFAULT_CONN_ID
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.invocation_arguments import check_arguments
from airflow_provider_kernel.triggers._polling import shared_poller
from airflow_provider_kernel.validation import DEFAULT_POLL_INTERVAL
from airflow_provider_kernel.xcom import storable_text

if TYPE_CHECKING:
    from airflow_provider_kernel.triggers.finished_producer import FinishedProducer

log = get_logger(__name__)

_STATE_KEY = "kernel_invocation_finished"
#: Max age of the stored cursor while nothing finishes. After a restart, the list is read back to it.
_STORE_EVERY = timedelta(minutes=5)
_STORE_PAUSE_SECONDS = 10.0


class KernelInvocationFinishedTrigger(SafeLogMixin, BaseEventTrigger):
    """
    Fire an event for each invocation that finishes, once.

    For an ``AssetWatcher``::

        trigger = KernelInvocationFinishedTrigger(app_name="agent")
        agent = Asset("agent", watchers=[AssetWatcher(name="finished", trigger=trigger)])

    An event is a dict of ``invocation_id``, ``app_name``, ``action_name``, ``version``, ``status``, ``started_at``,
    ``finished_at`` and ``seconds``. The output is not part of it; a task gets that with ``KernelHook``. What has
    finished before the first poll is not reported.

    On Airflow 3.3 all watchers of a connection with the same ``poll_interval`` share one poll. A cursor is stored
    with the asset once Airflow has stored the events. So nothing is lost in a restart or an outage, and nothing is
    doubled, except what was stored in the last second or two before the triggerer ended: that is reported again,
    with the same ``invocation_id``. On older versions each watcher has a poll of its own and begins anew after a
    restart: what finished meanwhile is not reported.

    :param app_name: only this app's invocations.
    :param action_name: only this action's.
    :param version: only those of this version label.
    :param status: only those with this status: ``"succeeded"`` or ``"failed"``.
    :param poll_interval: seconds between two polls.
    :param kernel_conn_id: the Airflow connection; its project is the one that is watched.
    """

    def __init__(
        self,
        *,
        app_name: str | None = None,
        action_name: str | None = None,
        version: str | None = None,
        status: str | None = None,
        poll_interval: float = DEFAULT_POLL_INTERVAL,
        kernel_conn_id: str = DEFAULT_CONN_ID,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.app_name = app_name
        self.action_name = action_name
        self.version = version
        self.status = status
        self.poll_interval = poll_interval
        self.kernel_conn_id = kernel_conn_id
        check_arguments(self)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "airflow_provider_kernel.triggers.finished.KernelInvocationFinishedTrigger",
            {
                "app_name": self.app_name,
                "action_name": self.action_name,
                "version": self.version,
                "status": self.status,
                "poll_interval": self.poll_interval,
                "kernel_conn_id": self.kernel_conn_id,
            },
        )

    # --- with the shared stream of Airflow 3.3 --------------------------------------------------------------------

    def shared_stream_key(self) -> Hashable:
        return ("kernel-invocation-finished", self.kernel_conn_id, self.poll_interval)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> FinishedProducer:
        from airflow_provider_kernel.triggers.finished_producer import FinishedProducer

        return FinishedProducer(kwargs["kernel_conn_id"], kwargs["poll_interval"])

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        async for event in self._events(shared_stream):
            yield event

    # --- and without ----------------------------------------------------------------------------------------------

    async def run(self) -> AsyncIterator[TriggerEvent]:
        async for event in self._events(deliveries(self.kernel_conn_id, self.poll_interval)):
            yield event

    async def _events(self, stream: AsyncIterator[Delivery]) -> AsyncIterator[TriggerEvent]:
        store = _CursorStore(getattr(self, "asset_state_store", None), self.log)
        cursor = await store.read()
        async for delivery in stream:
            if cursor is None:
                cursor = DeliveryCursor.begin(delivery.snapshot)
                await store.write(cursor)
                continue
            if cursor.has_gap(delivery.snapshot):
                delivery.request_backfill(cursor.after)
                continue
            new, cursor = cursor.advance(delivery.snapshot, self._is_wanted)
            if new or store.is_old(cursor):
                # Stored after Airflow has stored the events, not before: they might be lost.
                delivery.on_stored.append(functools.partial(store.write, cursor))
            for finished in new:
                yield TriggerEvent(_storable(finished.payload()))  # type: ignore[no-untyped-call]

    def _is_wanted(self, finished: Finished) -> bool:
        return all(
            getattr(self, name) in (None, getattr(finished, name))
            for name in ("app_name", "action_name", "version", "status")
        )


def _storable(payload: dict[str, Any]) -> dict[str, Any]:
    return {name: storable_text(value) if isinstance(value, str) else value for name, value in payload.items()}


@dataclass
class Delivery:
    """
    A snapshot of Kernel's list, on its way to the watchers.

    :param request_backfill: makes the next snapshot reach back to a time.
    :param on_stored: called, one for each watcher, once Airflow has stored the events of this delivery.
    """

    snapshot: Snapshot
    request_backfill: Callable[[datetime], None]
    on_stored: list[Callable[[], Awaitable[None]]] = field(default_factory=list)


async def deliveries(kernel_conn_id: str, poll_interval: float) -> AsyncIterator[Delivery]:
    """Poll forever. Nothing that fails ends it; an outage is logged at its start, and then every few minutes."""
    completions = CompletionPoller()
    hook = KernelHook(kernel_conn_id)
    outage = Outage(
        "the list of invocations",
        is_endless=True,
        on_error=lambda error: log.warning("Kernel's invocations cannot be listed: %s; polling again", error),
    )
    while True:
        pause = poll_interval
        try:
            config = await _read_config(hook)
            async with shared_poller(config) as poller:
                snapshot = await poller.run(completions.poll(utc_now(), on_row=poller.publish))
        except KernelError as error:
            pause = outage.failed(error, poll_interval)
        else:
            outage.succeeded()
            yield Delivery(snapshot, completions.request_backfill)
        await asyncio.sleep(pause)


async def _read_config(hook: KernelHook) -> KernelConfig:
    try:
        return await hook.areload_config()
    except KernelError:
        raise
    except Exception as error:  # whatever keeps Airflow from giving the connection
        raise KernelConfigurationError(f"The connection cannot be read: {error}") from error


class _CursorStore:
    """The watcher's cursor, stored with each asset that it serves."""

    def __init__(self, accessors: Any | None, log: Any) -> None:
        self._stores = _compat.asset_state_stores(accessors)
        self._log = log
        self._stored: DeliveryCursor | None = None

    async def read(self) -> DeliveryCursor | None:
        """Read the cursor, and never give up: beginning without it could lose events."""
        outage = Outage(
            "the asset state store",
            is_endless=True,
            on_error=lambda error: self._log.warning("Airflow's asset state store cannot be read: %s", error),
        )
        while True:
            try:
                found = [DeliveryCursor.from_json(await store.aget(_STATE_KEY)) for store in self._stores]
            except Exception as error:  # noqa: BLE001 (whatever Airflow's store raises)
                await asyncio.sleep(
                    outage.failed(KernelError(str(error) or type(error).__name__), _STORE_PAUSE_SECONDS)
                )
                continue
            self._stored = max((cursor for cursor in found if cursor), key=lambda c: c.after, default=None)
            return self._stored

    async def write(self, cursor: DeliveryCursor) -> None:
        """Store the cursor. A failure is logged; the next cursor replaces this one."""
        self._stored = cursor
        try:
            for store in self._stores:
                await store.aset(_STATE_KEY, cursor.to_json())
        except Exception as error:  # noqa: BLE001 (whatever Airflow's store raises)
            self._log.warning("Airflow's asset state store cannot be written: %s", error)

    def is_old(self, cursor: DeliveryCursor) -> bool:
        return self._stored is None or cursor.after - self._stored.after > _STORE_EVERY
