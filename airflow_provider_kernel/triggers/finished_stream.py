"""The completions of a connection, for its asset watchers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from airflow_provider_kernel.client.errors import KernelError
from airflow_provider_kernel.client.resources.invocations.completions import CompletionPoller, Snapshot
from airflow_provider_kernel.client.resources.invocations.find_started import utc_now
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.triggers._polling import shared_poller

log = logging.getLogger(__name__)


@dataclass
class Delivery:
    """
    A snapshot of Kernel's list, on its way to the watchers.

    :param request_backfill: has the next snapshot reach back to a time.
    :param on_stored: what each watcher does once Airflow has stored the events that it made of this.
    """

    snapshot: Snapshot
    request_backfill: Callable[[datetime], None]
    on_stored: list[Callable[[], Awaitable[None]]] = field(default_factory=list)


async def deliveries(kernel_conn_id: str, poll_interval: float) -> AsyncIterator[Delivery]:
    """Poll for ever, whatever goes wrong."""
    completions = CompletionPoller()
    while True:
        try:
            config = await KernelHook(kernel_conn_id).aget_config()
            async with shared_poller(config) as poller:
                snapshot = await poller.run(completions.poll(utc_now(), on_row=poller.publish))
        except KernelError as error:
            log.warning("Kernel's invocations cannot be listed: %s; polling again", error)
        else:
            yield Delivery(snapshot, completions.request_backfill)
        await asyncio.sleep(poll_interval)
