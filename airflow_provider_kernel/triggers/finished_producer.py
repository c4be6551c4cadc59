"""The shared poll in the form that Airflow 3.3 takes, which says when the events made of a look are stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from airflow.triggers.shared_stream import AdvanceItem, SharedStreamProducer

from airflow_provider_kernel.triggers.finished_stream import Look, looks


class FinishedProducer(SharedStreamProducer):
    """
    Produce looks, and have each watcher note what it has told once Airflow has stored it.

    :param kernel_conn_id: the Airflow connection.
    :param poll_interval: seconds between two looks.
    """

    def __init__(self, kernel_conn_id: str, poll_interval: float) -> None:
        self._kernel_conn_id = kernel_conn_id
        self._poll_interval = poll_interval

    async def open_stream(self) -> AsyncIterator[tuple[Any, Any]]:
        """Yield looks, each as what the watchers get and as what is noted later."""
        async for look in looks(self._kernel_conn_id, self._poll_interval):
            yield look, look

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """
        Have the watchers note what they have told.

        :param batch: looks of which all events are stored.
        """
        for item in batch:
            look: Look = item.broker_payload
            if item.outcome.failed == 0:
                for note in look.when_told:
                    await note()
