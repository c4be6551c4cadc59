"""The watcher: it looks at Kernel while DAGs run, tells what happens there, and kills the task that is to die."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

from airflow_provider_kernel.api.errors import KernelError
from airflow_provider_kernel.demo.outcome import MOST_INSTANCES

if TYPE_CHECKING:
    from types import TracebackType

    from airflow_provider_kernel.demo.kernels import Kernel, Seen
    from airflow_provider_kernel.demo.terminal import Terminal

#: How long to wait for an invocation's browser before the task is killed all the same.
BROWSER_SECONDS = 60.0
#: How long a killed task may take to end its invocation. Airflow itself kills the process after five seconds.
GRACE_SECONDS = 15.0


class Watcher:
    """
    Look at Kernel in a thread of its own.

    :param kernel: what to look at.
    :param terminal: where to tell.
    """

    def __init__(self, kernel: Kernel, terminal: Terminal) -> None:
        self._kernel = kernel
        self._terminal = terminal
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="kernel-demo-watcher", daemon=True)
        self._seen: dict[str, Seen] = {}
        self._of_example: set[str] = set()
        self._told: set[str] = set()  # of an example with many invocations only the first ones
        self._kill = False
        self._awaited_since: float | None = None
        self._killed_at: float | None = None
        self._trouble: str | None = None

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def begin(self, *, kill: bool) -> None:
        """
        Take the invocations that are new from now on for those of one example.

        :param kill: whether to send this process a SIGTERM once the first of them runs and has its browser.
        """
        with self._lock:
            self._of_example = set()
            self._told = set()
            self._awaited_since = self._killed_at = None
            self._kill = kill

    def catch_up(self) -> None:
        """Tell at once what has happened since the last look."""
        with self._lock:
            try:
                self._look()
            except KernelError as error:
                self._tell_trouble(str(error))

    def spare(self) -> None:
        """Kill nothing from now on: no task is there any more to take the signal."""
        with self._lock:
            self._kill = False

    def end(self) -> list[Seen]:
        """
        Look at the end of the example.

        :return: its invocations as they are now.
        """
        with self._lock:
            self._look()
            return [seen for seen in self._seen.values() if seen.id in self._of_example]

    def left_active(self) -> list[Seen]:
        """Look for invocations that nobody has ended."""
        with self._lock:
            self._look()
            return [seen for seen in self._seen.values() if seen.active]

    def _watch(self) -> None:
        while not self._stop.wait(self._kernel.interval):
            with self._lock:
                try:
                    self._look()
                    if self._kill:
                        self._see_to_the_kill()
                except KernelError as error:
                    self._tell_trouble(str(error))

    def _look(self) -> None:
        for seen in self._kernel.look():
            before = self._seen.get(seen.id)
            self._seen[seen.id] = seen
            if before is None:
                self._of_example.add(seen.id)
            new = seen.statuses[len(before.statuses) if before else 0 :]
            if new and (seen.id in self._told or len(self._told) < MOST_INSTANCES):
                self._told.add(seen.id)
                self._terminal.event(f"  invocation {seen.id} ({seen.action}): {', '.join(new)}")
        self._trouble = None

    def _see_to_the_kill(self) -> None:
        now = time.monotonic()
        for seen in [self._seen[invocation_id] for invocation_id in self._of_example]:
            if seen.status != "running" or not seen.awaited:
                continue
            if self._killed_at is None:
                self._awaited_since = self._awaited_since or now
                if self._kernel.browsers(seen.id) or now > self._awaited_since + BROWSER_SECONDS:
                    self._killed_at = now
                    self._terminal.event("  the task is sent a SIGTERM, as when it is marked as failed")
                    os.kill(os.getpid(), signal.SIGTERM)
            elif now > self._killed_at + GRACE_SECONDS:
                # Or the demo would wait as long as the action wants to.
                self._terminal.event(f"  invocation {seen.id} goes on all the same; the demo ends it")
                self._kernel.cancel(seen.id)

    def _tell_trouble(self, text: str) -> None:
        if text != self._trouble:
            self._trouble = text
            self._terminal.event(f"  Kernel could not be asked: {text}")
