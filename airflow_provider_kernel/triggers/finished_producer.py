"""The watchers' poll in the form that Airflow 3.3 shares, which says when the events of a delivery are stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from airflow.triggers.shared_stream import AdvanceItem, SharedStreamProducer

from airflow_provider_kernel.triggers.finished import Delivery, deliveries


class FinishedProducer(SharedStreamProducer):
    """Deliver snapshots, and have each watcher store its cursor once Airflow has stored the events."""

    def __init__(self, kernel_conn_id: str, poll_interval: float) -> None:
        self._kernel_conn_id = kernel_conn_id
        self._poll_interval = poll_interval

    async def open_stream(self) -> AsyncIterator[tuple[Any, Any]]:
        """Yield each delivery twice: for the watchers, and for :meth:`advance`."""
        async for delivery in deliveries(self._kernel_conn_id, self._poll_interval):
            yield delivery, delivery

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        for item in batch:
            delivery: Delivery = item.broker_payload
            if item.outcome.failed == 0:
                for store_cursor in delivery.on_stored:
                    await store_cursor()
