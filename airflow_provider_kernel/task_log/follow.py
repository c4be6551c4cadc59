"""Follow an invocation's log on a thread, for a task that waits on a worker."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from airflow_provider_kernel.client.client import KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.resources.invocations.events import EventFollower
from airflow_provider_kernel.client.safe_logger import side_information
from airflow_provider_kernel.task_log.writer import NOT_SHOWN, InvocationLog


class _StoppedError(Exception):
    """Nobody waits for further lines."""


class LogStream:
    """
    Follows an invocation's stream on a thread while the block runs. If that succeeds, the last lines are drained.

    :param on_end: called when the stream reports the invocation's end, so that the waiter can poll at once.
    """

    def __init__(
        self, config: KernelConfig, invocation_id: str, *, log: InvocationLog, on_end: Callable[[], None]
    ) -> None:
        self._config = config
        self._follower = EventFollower(invocation_id, is_new=True)
        self._log = log
        self._on_end = on_end
        self._stopped = threading.Event()
        self._wake = threading.Event()
        # A reading thread cannot be interrupted; as a daemon, it does not hold up the process.
        self._thread = threading.Thread(target=self._follow, name="kernel-log-stream", daemon=True)

    def __enter__(self) -> LogStream:
        with side_information(NOT_SHOWN, self._log.logger):
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            # The last lines wait for no long pause between two connections, neither this one nor a later one.
            self._follower.keep_pauses_short()
            self._wake.set()
            for seconds in self._log.drain(lambda: not self._thread.is_alive()):
                self._thread.join(seconds)
        self._stopped.set()
        self._wake.set()
        self._log.end(self._follower.problem)

    def _follow(self) -> None:
        with side_information(NOT_SHOWN, self._log.logger), suppress(_StoppedError):
            try:
                with KernelClient(self._config, sleep=self._pause) as client:
                    for news in client.follow(self._follower):
                        if self._stopped.is_set():
                            break
                        self._log.write(news)
            finally:
                self._log.end(self._follower.problem)
        if self._follower.is_final:
            self._on_end()

    def _pause(self, seconds: float) -> None:
        if not self._stopped.is_set():
            self._wake.wait(seconds)
            self._wake.clear()
        if self._stopped.is_set():
            raise _StoppedError
