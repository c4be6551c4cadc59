"""One poll for all watchers of a connection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from weakref import WeakKeyDictionary

from airflow_provider_kernel.client.errors import KernelError
from airflow_provider_kernel.client.resources.invocations.completions import CompletionPoller, Snapshot
from airflow_provider_kernel.client.resources.invocations.find_started import utc_now
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.triggers.shared_client import shared_client

log = logging.getLogger(__name__)

Key = tuple[str, str, float]


@dataclass
class Look:
    """
    A look at Kernel's list, on its way to the watchers.

    :param snapshot: what it has shown.
    :param when_told: what each watcher has to do once Airflow has stored the events that it made of this.
    """

    snapshot: Snapshot
    when_told: list[Callable[[], Awaitable[None]]] = field(default_factory=list)


# Since when a watcher must know of what has finished. By loop, as the triggerer has one, and tests have many.
_wishes: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Key, datetime]] = WeakKeyDictionary()


def stream_key(kernel_conn_id: str, poll_interval: float) -> Key:
    """
    Name the poll that a watcher takes part in.

    :param kernel_conn_id: the Airflow connection.
    :param poll_interval: seconds between two looks.
    """
    return ("kernel-invocation-finished", kernel_conn_id, poll_interval)


def wish(key: Key, back_to: datetime) -> None:
    """
    Have the next look reach back so far.

    :param key: which poll.
    :param back_to: since when all that has finished is wanted.
    """
    wishes = _wishes.setdefault(asyncio.get_running_loop(), {})
    wishes[key] = min(back_to, wishes.get(key, back_to))


async def looks(kernel_conn_id: str, poll_interval: float) -> AsyncIterator[Look]:
    """
    Look at Kernel's list again and again, whatever goes wrong.

    :param kernel_conn_id: the Airflow connection.
    :param poll_interval: seconds between two looks.
    """
    poll = CompletionPoller()
    while True:
        try:
            snapshot = await _look(poll, kernel_conn_id, stream_key(kernel_conn_id, poll_interval))
        except KernelError as error:
            # The watch goes on for ever; whatever this is, somebody may mend it.
            log.warning("Kernel's invocations cannot be listed: %s; looking again", error)
        else:
            yield Look(snapshot)
        await asyncio.sleep(poll_interval)


async def _look(poll: CompletionPoller, kernel_conn_id: str, key: Key) -> Snapshot:
    wishes = _wishes.setdefault(asyncio.get_running_loop(), {})
    back_to = wishes.get(key)
    config = await KernelHook(kernel_conn_id).aget_config()
    async with shared_client(config) as client:
        snapshot = await client.run(poll.look(utc_now(), back_to=back_to))
    if wishes.get(key) == back_to:  # nobody has wished for more meanwhile
        with contextlib.suppress(KeyError):
            del wishes[key]
    return snapshot
