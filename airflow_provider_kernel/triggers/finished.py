"""The trigger for event-driven scheduling: a DAG runs when an invocation finishes."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Hashable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_kernel import _compat
from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.client.resources.invocations.completions import DeliveryCursor, Finished
from airflow_provider_kernel.client.resources.invocations.status import FINAL_STATUSES
from airflow_provider_kernel.triggers.finished_stream import Look, looks, stream_key, wish
from airflow_provider_kernel.validation import check_poll_interval

if TYPE_CHECKING:
    from airflow_provider_kernel.triggers.finished_producer import FinishedProducer

_STATE_KEY = "kernel_invocation_finished"
#: How old what is noted may get while there is nothing to tell. It says how far to look back after a restart.
_NOTE_EVERY = timedelta(minutes=5)
_STORE_PAUSE = 10.0


class KernelInvocationFinishedTrigger(BaseEventTrigger):
    """
    Tell of each invocation that finishes, once.

    It is there for an ``AssetWatcher``::

        trigger = KernelInvocationFinishedTrigger(app_name="agent")
        agent = Asset("agent", watchers=[AssetWatcher(name="finished", trigger=trigger)])

    An event is a dict of ``invocation_id``, ``app_name``, ``action_name``, ``version``, ``status``, ``started_at``,
    ``finished_at`` and ``seconds``. The output is not part of it; a task gets that with ``KernelHook``. What has
    finished before the first look is not told.

    On Airflow 3.3 all watchers of a connection with the same ``poll_interval`` share one poll. What has been told
    is noted in the asset's state store once Airflow has stored the event. So nothing is lost over a restart or an
    outage, and nothing doubled, except what was stored in the last second or two before the triggerer ended: that
    is told again, with the same ``invocation_id``. On older versions each watcher has a poll of its own and begins
    anew after a restart: what finished meanwhile is not told.

    :param app_name: only this app's invocations.
    :param action_name: only this action's.
    :param version: only those of this version label.
    :param status: only those that ended so: ``"succeeded"`` or ``"failed"``.
    :param poll_interval: seconds between two looks.
    :param kernel_conn_id: the Airflow connection; its project is the one that is watched.
    """

    def __init__(
        self,
        *,
        app_name: str | None = None,
        action_name: str | None = None,
        version: str | None = None,
        status: str | None = None,
        poll_interval: float = 10.0,
        kernel_conn_id: str = "kernel_default",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.app_name = app_name
        self.action_name = action_name
        self.version = version
        self.status = status
        self.poll_interval = poll_interval
        self.kernel_conn_id = kernel_conn_id
        check_poll_interval(poll_interval)
        if status is not None and status not in FINAL_STATUSES:
            raise KernelInputError(f"status is {status!r}; it takes 'succeeded', 'failed', or None for both")

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Describe the trigger for its row in Airflow's database."""
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
        """Name the poll to take part in."""
        return stream_key(self.kernel_conn_id, self.poll_interval)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> FinishedProducer:
        """
        Make the poll.

        :param kwargs: what one of the watchers was made with.
        """
        from airflow_provider_kernel.triggers.finished_producer import FinishedProducer

        return FinishedProducer(kwargs["kernel_conn_id"], kwargs["poll_interval"])

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """
        Make events of the looks.

        :param shared_stream: the looks.
        """
        async for event in self._events(shared_stream):
            yield event

    # --- and without ----------------------------------------------------------------------------------------------

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look, and yield an event for each invocation that finishes."""
        async for event in self._events(looks(self.kernel_conn_id, self.poll_interval)):
            yield event

    async def _events(self, stream: AsyncIterator[Look]) -> AsyncIterator[TriggerEvent]:
        notes = _Notes(getattr(self, "asset_state_store", None), self.log)
        told = await notes.read()
        if told is not None:
            wish(stream_key(self.kernel_conn_id, self.poll_interval), told.after)
        async for look in stream:
            if told is None:
                told = DeliveryCursor.begin(look.snapshot)
                await notes.write(told)
                continue
            if told.misses_some_of(look.snapshot):
                wish(stream_key(self.kernel_conn_id, self.poll_interval), told.after)
                continue
            news, told = told.news(look.snapshot, self._is_wanted)
            if news or notes.are_old(told):
                # Noted when Airflow has stored the events, not before: they might be lost.
                look.when_told.append(functools.partial(notes.write, told))
            for finished in news:
                yield TriggerEvent(finished.payload())  # type: ignore[no-untyped-call]

    def _is_wanted(self, finished: Finished) -> bool:
        pairs = (
            (self.app_name, finished.app_name),
            (self.action_name, finished.action_name),
            (self.version, finished.version),
            (self.status, finished.status),
        )
        return all(wanted is None or wanted == found for wanted, found in pairs)


class _Notes:
    """
    What has been told, noted with the assets that are watched.

    :param store: Airflow's store; ``None`` where there is none.
    :param log: where to tell of trouble.
    """

    def __init__(self, store: Any | None, log: Any) -> None:
        self._stores = _compat.asset_state_stores(store)
        self._log = log
        self._noted: DeliveryCursor | None = None

    async def read(self) -> DeliveryCursor | None:
        """Read them, however long that takes: to begin without them could lose events."""
        while True:
            try:
                found = [DeliveryCursor.from_json(await store.aget(_STATE_KEY)) for store in self._stores]
            except Exception as error:  # noqa: BLE001 (whatever keeps Airflow from telling)
                self._log.warning("Airflow does not tell what has been told: %s; asking again", error)
                await asyncio.sleep(_STORE_PAUSE)
                continue
            self._noted = max((told for told in found if told), key=lambda told: told.after, default=None)
            return self._noted

    async def write(self, told: DeliveryCursor) -> None:
        """
        Write them.

        :param told: what has been told.
        """
        self._noted = told
        try:
            for store in self._stores:
                await store.aset(_STATE_KEY, told.to_json())
        except Exception as error:  # noqa: BLE001 (the watch is worth more than the note)
            self._log.warning("Airflow did not note what has been told: %s", error)

    def are_old(self, told: DeliveryCursor) -> bool:
        """
        Say whether what is noted is long ago.

        :param told: what has been told by now.
        """
        return self._noted is None or told.after - self._noted.after > _NOTE_EVERY
