"""One client for all triggers of an event loop that call the same API as the same caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from airflow_provider_kernel.client.client import AsyncKernelClient
from airflow_provider_kernel.client.config import KernelConfig


@dataclass
class _Shared:
    client: AsyncKernelClient
    users: int = 0


# By loop, since a client's connections belong to the loop that opened them.
_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[KernelConfig, _Shared]] = WeakKeyDictionary()


@asynccontextmanager
async def shared_client(config: KernelConfig) -> AsyncIterator[AsyncKernelClient]:
    """
    Borrow the running loop's client for a configuration; the last one to return it closes it.

    :param config: how to reach the API, and as whom.
    """
    clients = _clients.setdefault(asyncio.get_running_loop(), {})
    shared = clients.get(config)
    if shared is None:
        shared = clients[config] = _Shared(AsyncKernelClient(config))
    shared.users += 1
    try:
        yield shared.client
    finally:
        shared.users -= 1
        if shared.users == 0:
            del clients[config]
            # To its end, although a triggerer cancels its triggers again and again.
            await asyncio.shield(shared.client.close())
