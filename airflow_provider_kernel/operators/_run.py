"""The state of one run of an operator: neither the operator's next run nor a copy of the operator shares it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_provider_kernel.client.errors import KernelError
    from airflow_provider_kernel.client.outage import Outage
    from airflow_provider_kernel.hooks.kernel import KernelHook


class Run:
    """
    What an operator knows of one run of its task.

    ``execute`` makes it, and so does what goes on after a deferral. Before, an operator has a run that has not
    begun: it notes a signal that comes first.

    :param has_begun: whether this is more than the note of a signal.
    :param is_resumed: whether the task goes on after a deferral.
    """

    def __init__(self, *, has_begun: bool = False, is_resumed: bool = False) -> None:
        self.is_resumed = is_resumed
        #: When this run began to start something, by the monotonic clock; ``None`` while it has not, or reconnects.
        self.start_began: float | None = None
        #: Whether the run was killed. Written in a signal handler.
        self.killed = False
        self.hook: KernelHook | None = None
        #: What a sensor's polls have met so far.
        self.outage: Outage | None = None
        #: When a sensor's timeout is over, by the monotonic clock.
        self.ends_at = float("inf")
        #: When the task of a sensor started, before any deferral.
        self.started_at: datetime | None = None
        #: What a sensor's trigger has sent, until it is read.
        self.event: dict[str, Any] | None = None
        #: Which argument of a sensor the deadline of its trigger comes from.
        self.limit = ""
        #: Why a sensor's time is over, when its trigger has found so.
        self.overdue: KernelError | None = None
        #: The URL of the link on the task's page, once it is known; empty once it is known that there is none.
        self.dashboard: str | None = None
        #: Whether a trigger may store a better link before this process has ended.
        self.keeps_stored_link = False
        #: Waits before a request is sent again, in seconds.
        self.sleep: Callable[[float], object] = time.sleep
        self._has_begun = has_begun
        self._has_deferred = False
        self._pid = os.getpid()
        self._kills: list[Callable[[], object]] = []

    @property
    def is_of_another_process(self) -> bool:
        """Whether this process was forked from the one that runs the task. It owns nothing."""
        return self._has_begun and self._pid != os.getpid()

    @property
    def link(self) -> str | None:
        """What the page is to link to when this process ends; empty: nothing; ``None``: what is stored already."""
        if self.keeps_stored_link:
            return None
        # Airflow has wiped what an earlier try had stored.
        is_first = self._has_begun and not self.is_resumed
        return self.dashboard or "" if is_first else self.dashboard

    def close_hook(self) -> None:
        """Close the connections of the hook, if the run has needed one."""
        if self.hook is not None:
            self.hook.close()

    def take_over(self, last: Run) -> None:
        """Take over a signal that came before this run. To be called once a signal handler finds this run."""
        is_continued = not last._has_begun or (self.is_resumed and last._has_deferred)
        if is_continued and last.killed:
            self.killed = True

    def on_kill(self, kill: Callable[[], object]) -> None:
        """Call ``kill`` on each kill, in a signal handler; at once if one has come before."""
        self._kills.append(kill)
        if self.killed:
            kill()

    def check_killed(self, message: str) -> None:
        """Raise in a run that was killed: after ``on_kill`` has returned, the task goes on."""
        if self.killed:
            from airflow_provider_kernel.client.errors import KernelTaskKilledError

            raise KernelTaskKilledError(message)

    def defer(self, kill: Callable[[], object]) -> None:
        """Note that the task defers; from now on a kill also calls ``kill``."""
        self._has_deferred = True
        self._kills.append(kill)

    def kill(self) -> None:
        """Handle a kill from a signal handler. May be called at any time, and again."""
        if self.is_of_another_process:
            return
        self.killed = True
        for kill in tuple(self._kills):
            kill()

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy of an operator has not run.
        return Run, ()
