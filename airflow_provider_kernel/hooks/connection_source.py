"""
An Airflow connection that is read anew when Kernel refuses its key: the key may have been replaced meanwhile.

All clients of a process that have their settings from one source share what it reads. Many requests that are
refused at once cause one read, and another one only after a pause.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial

from airflow_provider_kernel._compat import forget_cached_connection
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.errors import KernelConfigurationError
from airflow_provider_kernel.client.http.transport import Transport
from airflow_provider_kernel.client.safe_logger import get_logger
from airflow_provider_kernel.lifecycle.signal_safe import Work, WorkerThread

log = get_logger(__name__)

#: The pause between two reads, in seconds.
PAUSE_SECONDS = 1.0
#: How long a refused request waits for the connection at most. Airflow, or its secrets backend, may hang.
_READ_SECONDS = 10.0


class ConnectionSource:
    """
    The present settings of an Airflow connection; a :class:`~airflow_provider_kernel.client.config.ConfigSource`.

    :param conn_id: the connection's id.
    :param label: how errors name it.
    :param started: the settings that were read first. Only a key for the same base URL and project replaces theirs:
        elsewhere, what they own would seem not to exist.
    :param read: reads it, and masks its key; blocks.
    :param aread: the same, in an event loop.
    """

    def __init__(
        self,
        conn_id: str,
        started: KernelConfig,
        read: Callable[[], KernelConfig],
        aread: Callable[[], Awaitable[KernelConfig]],
        *,
        label: str,
    ) -> None:
        self.name = conn_id
        self.label = label
        self._started_at = (started.base_url, started.project)
        self.newest: KernelConfig | None = None
        self._read = read
        self._aread = aread
        self._next_at = float("-inf")
        self._has_failed = False
        self._pid = os.getpid()
        self._reading: Work[None] | None = None
        self._areading: asyncio.Task[None] | None = None
        self._thread: WorkerThread | None = None
        self._context = contextvars.Context()

    def prepare(self) -> None:
        """
        Start the thread that reads the connection, for a task that may be killed. On the main thread of the task.

        To start one takes locks, which the code that the kill interrupts may hold.
        """
        if self._thread is None or self._thread.is_of_another_process:
            # Airflow keeps what its calls need in context variables.
            self._context = contextvars.copy_context()
            self._thread = WorkerThread("kernel-connection")

    def close(self) -> None:
        """End the thread once it is idle. Waits for nothing."""
        if self._thread is not None:
            self._thread.close()
            self._thread = None

    def renew(self, seconds: float) -> None:
        """Read the connection anew. What is read too late is used by the next request."""
        work = self._reading
        # A forked child has a copy of a read of its parent, which ends in the parent only.
        if work is None or self._pid != os.getpid() or work.wait(0):
            if time.monotonic() < self._next_at:
                return
            self._pid = os.getpid()
            work = self._reading = self._begin()
        work.wait(min(seconds, _READ_SECONDS))

    async def arenew(self, seconds: float) -> None:
        """Do what :meth:`renew` does. A waiter that is cancelled leaves the read to the others."""
        task = self._areading
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            if time.monotonic() < self._next_at:
                return
            task = self._areading = asyncio.create_task(self._aread_anew())
        await asyncio.wait({task}, timeout=min(seconds, _READ_SECONDS))

    def _begin(self) -> Work[None]:
        # Never on the calling thread: it may be interrupted by a kill, whose end then waits for this read.
        thread = self._thread
        if thread is not None and not thread.is_of_another_process:
            return thread.submit(partial(self._context.run, self._read_anew))
        work = Work(partial(contextvars.copy_context().run, self._read_anew))
        threading.Thread(target=work.run, name="kernel-connection", daemon=True).start()
        return work

    def _read_anew(self) -> None:
        try:
            forget_cached_connection(self.name)
            self._take(self._read())
        except Exception as error:  # noqa: BLE001 (whatever keeps Airflow from giving the connection)
            self._fail(error)

    async def _aread_anew(self) -> None:
        try:
            self._take(await self._aread())
        except Exception as error:  # noqa: BLE001 (as above)
            self._fail(error)

    def _take(self, config: KernelConfig) -> None:
        if (config.base_url, config.project) != self._started_at:
            raise KernelConfigurationError(
                f"The connection {self.name!r} names another base URL or project now; what was started "
                "goes on with the old ones, and their old key"
            )
        _ = Transport(config, None)  # refuses a host that no client can be made with
        self.newest, self._has_failed = config, False
        self._next_at = time.monotonic() + PAUSE_SECONDS

    def _fail(self, error: Exception) -> None:
        self._next_at = time.monotonic() + PAUSE_SECONDS
        if not self._has_failed:
            self._has_failed = True
            log.warning(
                "Kernel refuses the key, and the connection gives no other: %s",
                str(error) or type(error).__name__,
            )
