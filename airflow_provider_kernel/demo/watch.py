"""The watcher: polls the emulator while DAGs run, prints changes, and kills the task of the kill example."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

from airflow_provider_kernel.demo.outcome import MOST_INSTANCES

if TYPE_CHECKING:
    from types import TracebackType

    from airflow_provider_kernel.demo.kernel import DemoKernel, ObservedInvocation
    from airflow_provider_kernel.demo.terminal import Terminal

POLL_SECONDS = 0.05
#: Max wait for the invocation's browser; the task is killed without one after that.
BROWSER_SECONDS = 60.0
#: Max time for a killed task to end its invocation. Airflow itself kills the process after five seconds.
GRACE_SECONDS = 15.0


class Watcher:
    """
    Poll Kernel in a thread.

    :param kernel: the emulated Kernel.
    :param terminal: the terminal to print to.
    :param interval: seconds between two polls.
    """

    def __init__(self, kernel: DemoKernel, terminal: Terminal, interval: float = POLL_SECONDS) -> None:
        self._kernel = kernel
        self._terminal = terminal
        self._interval = interval
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="kernel-demo-watcher", daemon=True)
        self._observed: dict[str, ObservedInvocation] = {}
        self._of_example: set[str] = set()
        self._printed: set[str] = set()  # only the first few invocations of an example
        self._browsers: dict[str, str] = {}
        self._armed = False
        self._awaited_since: float | None = None
        self._killed_at: float | None = None

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
        Begin an example: invocations that appear from now on belong to it.

        :param kill: send this process a SIGTERM once an invocation is running, awaited, and has a browser.
        """
        with self._lock:
            self._of_example = set()
            self._printed = set()
            self._awaited_since = self._killed_at = None
            self._armed = kill

    def catch_up(self) -> None:
        """Poll now and print what has changed."""
        with self._lock:
            self._poll()

    def disarm(self) -> None:
        """Send no signal from now on: no task is running that would receive it."""
        with self._lock:
            self._armed = False

    def end(self) -> list[ObservedInvocation]:
        """
        End the example.

        :return: its invocations, polled now.
        """
        with self._lock:
            self._poll()
            return [found for found in self._observed.values() if found.id in self._of_example]

    def left_active(self) -> list[ObservedInvocation]:
        """Return the invocations that have not ended."""
        with self._lock:
            self._poll()
            return [found for found in self._observed.values() if found.active]

    def _watch(self) -> None:
        while not self._stop.wait(self._interval):
            with self._lock:
                self._poll()
                if self._armed:
                    self._kill_when_ready()

    def _poll(self) -> None:
        for found in self._kernel.poll():
            before = self._observed.get(found.id)
            self._observed[found.id] = found
            if before is None:
                self._of_example.add(found.id)
            new = found.statuses[len(before.statuses) if before else 0 :]
            if new and (found.id in self._printed or len(self._printed) < MOST_INSTANCES):
                self._printed.add(found.id)
                self._terminal.event(f"  invocation {found.id} ({found.action}): {', '.join(new)}")
        for browser in self._kernel.browsers():
            state = "started" if browser.is_active else f"ended ({browser.end_cause})"
            if self._browsers.get(browser.session_id) != state:
                self._browsers[browser.session_id] = state
                self._terminal.event(f"  browser {browser.session_id}: {state}")

    def _kill_when_ready(self) -> None:
        now = time.monotonic()
        for found in [self._observed[invocation_id] for invocation_id in self._of_example]:
            if found.status != "running" or not found.awaited:
                continue
            if self._killed_at is None:
                self._awaited_since = self._awaited_since or now
                if self._kernel.count_browsers(found.id) or now > self._awaited_since + BROWSER_SECONDS:
                    self._killed_at = now
                    self._terminal.event("  the task is sent a SIGTERM, as when it is marked as failed")
                    os.kill(os.getpid(), signal.SIGTERM)
            elif now > self._killed_at + GRACE_SECONDS:
                # Without this, the demo would run as long as the action does.
                self._terminal.event(f"  invocation {found.id} survived the kill; the demo ends it")
                self._kernel.cancel(found.id)
