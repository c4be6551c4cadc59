"""
The guard of an invocation: it starts it, and sees to it that it does not outlive its task.

``on_kill`` runs in a signal handler, on top of whatever the main thread was doing, and five seconds later the
process is killed. Anything that takes a lock which the interrupted code may hold would wait for ever: the logger,
the main client's pool, every call of Airflow. So whatever starts or cancels happens on threads of the guard's own,
with clients of their own, made before anything is started; and the threads talk through ``SimpleQueue``, the one
primitive that is documented to be safe in a signal handler. One thread starts and cancels; the other one cancels
while the first still waits for the answer to a start.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime
from queue import Empty, SimpleQueue

from airflow_provider_kernel.client.client import KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.errors import (
    KernelAmbiguousStartError,
    KernelError,
    KernelInvocationKilledError,
)
from airflow_provider_kernel.client.http.request import Request
from airflow_provider_kernel.client.resources.invocations import flows
from airflow_provider_kernel.client.resources.invocations.find_started import StartCriteria, find_started, utc_now
from airflow_provider_kernel.client.resources.invocations.models import Invocation
from airflow_provider_kernel.lifecycle.kill_budget import IN_FLIGHT_SECONDS, KILL_SECONDS, within_kill_budget

log = logging.getLogger(__name__)

#: What a cancel may take when nobody is about to kill the process.
CANCEL_SECONDS = 30.0


class InvocationGuard:
    """
    Start one invocation and own it until it is released.

    To be used by the main thread of a task process; :meth:`kill` may run in a signal handler on that thread at any
    moment, also during the other methods.

    :param config: how to reach the API.
    :param cancel: whether to cancel the invocation at all, if the task does not end well.
    """

    def __init__(self, config: KernelConfig, *, cancel: bool = True) -> None:
        self.invocation_id: str | None = None
        self.killed = False
        self._start_of: tuple[StartCriteria, datetime, frozenset[str]] | None = None
        self._may_be_started = False
        self._cancels = cancel
        self._released = False
        self._cancel_ordered = False
        # The main thread is waiting in start() while the first of them works, so that one may log.
        self._client = KernelClient(config, sleep=self._pause)
        self._hasty_client = KernelClient(within_kill_budget(config), logger=None)
        self._rescue_client = KernelClient(within_kill_budget(config), logger=None)
        self._orders: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._started: SimpleQueue[Invocation | BaseException] = SimpleQueue()
        self._cancelled: SimpleQueue[None] = SimpleQueue()
        self._wake_up: SimpleQueue[None] = SimpleQueue()
        self._wake_up_worker: SimpleQueue[None] = SimpleQueue()
        self._rescues: SimpleQueue[str | None] = SimpleQueue()
        for work in (self._work, self._rescue):
            threading.Thread(target=work, name="kernel-invocation-guard", daemon=True).start()

    def start(
        self,
        request: Request[Invocation],
        *,
        asked: StartCriteria | None,
        since: datetime,
        excluded: frozenset[str] = frozenset(),
    ) -> Invocation:
        """
        Start the invocation.

        :param request: what ``create_invocation`` built.
        :param asked: what it asks for, by which to find it should its answer get lost; ``None`` when it could be
            taken for somebody else's.
        :param since: when it was about to be sent.
        :param excluded: ids of invocations that are known to be others.
        :return: the invocation as far as the answer tells it. Also in a task that was killed meanwhile, which
            :meth:`check` tells once the id is stored.
        :raises KernelInvocationKilledError: when the task was killed before anything was started.
        :raises KernelError: when it was not started, or when that is unknown.
        """
        self._start_of = (asked, since, excluded) if asked is not None else None
        self._orders.put(lambda: self._start(request))
        outcome = self._started.get()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def adopt(self, invocation_id: str) -> None:
        """
        Own an invocation that was started before.

        :param invocation_id: the invocation.
        """
        self.invocation_id = invocation_id
        if self._cancel_ordered and self._await_cancel(CANCEL_SECONDS):
            # A kill came before it was known, and may have found nothing to cancel: cancel once more, in cancel().
            self._cancelled.get()
            self._cancel_ordered = False

    def wait(self, seconds: float) -> None:
        """
        Sleep, but wake up by :meth:`nudge`, and when the task is killed, where a plain sleep would go on.

        :param seconds: how long.
        :raises KernelInvocationKilledError: when the task was killed.
        """
        self.check()
        try:
            self._wake_up.get(timeout=seconds)
        except Empty:
            return
        self.check()

    def nudge(self) -> None:
        """End the main thread's sleep, because there is something to look at."""
        self._wake_up.put(None)

    def check(self) -> None:
        """
        Refuse to go on in a killed task: after ``on_kill`` has returned, ``execute`` continues.

        :raises KernelInvocationKilledError: when the task was killed.
        """
        if self.killed:
            raise KernelInvocationKilledError(
                "The task was killed while it waited for its invocation"
                + (f" {self.invocation_id}" if self.invocation_id else "")
            )

    def release(self) -> None:
        """Let go of the invocation: it is over, or meant to outlive the task. Nothing cancels it any more."""
        self._released = True

    def kill(self) -> None:
        """
        Cancel the invocation from a signal handler, in good time before the process is killed.

        A create request under way is waited for: its answer may come in time. May be called more than once.
        """
        self.killed = True
        self._wake_up.put(None)
        self._wake_up_worker.put(None)
        reason = "The Airflow task was killed"
        if self._order_cancel(reason) and not self._await_cancel(IN_FLIGHT_SECONDS):
            if self.invocation_id is None:
                # The create request still waits for its answer, and the cancel behind it; the list may tell.
                self._rescues.put(reason)
            self._await_cancel(KILL_SECONDS - IN_FLIGHT_SECONDS)

    def cancel(self, reason: str) -> None:
        """
        Cancel the invocation because the task ends otherwise than well.

        :param reason: why; it becomes the invocation's output.
        """
        self._order_cancel(reason)
        if self._cancel_ordered and not self._await_cancel(CANCEL_SECONDS):
            log.error(
                "Invocation %s could not be cancelled within %.0f s; it ends at its async_timeout_seconds",
                self.invocation_id or "(its id is not known yet)",
                CANCEL_SECONDS,
            )

    def close(self) -> None:
        """End the guard's threads and close its clients, once they are done with what they were told to do."""
        self._orders.put(None)
        self._rescues.put(None)

    def _order_cancel(self, reason: str) -> bool:
        if self._released or self._cancel_ordered or not self._cancels:
            return False
        self._cancel_ordered = True
        # Behind a create request under way, if there is one: the queue keeps the order.
        self._orders.put(lambda: self._cancel(reason))
        return True

    def _await_cancel(self, seconds: float) -> bool:
        try:
            self._cancelled.get(timeout=seconds)
        except Empty:
            return False
        self._cancelled.put(None)  # for whoever waits next
        return True

    # --- on the guard's threads ---------------------------------------------------------------------------------

    def _work(self) -> None:
        with self._client, self._hasty_client:
            while (order := self._orders.get()) is not None:
                order()

    def _pause(self, seconds: float) -> None:
        """Wait before another attempt; a killed task makes no further attempt to start something."""
        try:
            self._wake_up_worker.get(timeout=seconds)
        except Empty:
            return
        self._wake_up_worker.put(None)
        self.check()

    def _start(self, request: Request[Invocation]) -> None:
        try:
            self.check()
            self._may_be_started = True
            invocation = self._client.run(flows.start_invocation(request))
            self.invocation_id = invocation.id
        except BaseException as error:  # noqa: BLE001 (it is raised on the main thread)
            self._may_be_started = isinstance(error, KernelAmbiguousStartError)
            self._started.put(error)
        else:
            self._started.put(invocation)

    def _cancel(self, reason: str) -> None:
        lines: list[tuple[int, str]] = []
        client = self._hasty_client if self.killed else self._client
        try:
            for invocation_id in self._owned(client):
                lines += self._cancel_now(client, invocation_id, reason)
        finally:
            if self.killed:
                # The main thread waits in the signal handler, perhaps on top of a log call: request before log.
                self._cancelled.put(None)
                self._tell(lines)
            else:
                self._tell(lines)
                self._cancelled.put(None)

    def _rescue(self) -> None:
        """Find and cancel an invocation whose create request gets no answer in time."""
        with self._rescue_client as client:
            while (reason := self._rescues.get()) is not None:
                for invocation_id in self._owned(client):
                    lines = self._cancel_now(client, invocation_id, reason)
                    self._cancelled.put(None)
                    self._tell(lines)

    def _owned(self, client: KernelClient) -> list[str]:
        """Name what there is to cancel: also one whose start got no answer, if there is just one like it."""
        if self.invocation_id is not None:
            return [self.invocation_id]
        if not self._may_be_started or self._start_of is None:
            return []
        asked, since, excluded = self._start_of
        try:
            found = client.run(find_started(asked, since=since, now=utc_now(), excluded=excluded, patience=0.0))
        except KernelError:
            return []
        return [invocation.id for invocation in found] if len(found) == 1 else []

    def _cancel_now(self, client: KernelClient, invocation_id: str, reason: str) -> list[tuple[int, str]]:
        started = time.monotonic()
        hasty = client is not self._client
        try:
            cancellation = client.run(flows.cancel_invocation(invocation_id, reason, urgent=hasty))
        except KernelError as error:
            return [(logging.ERROR, f"Invocation {invocation_id} could not be cancelled: {error}")]
        took = f" (in {time.monotonic() - started:.1f} s)"
        return [(level, text + took) for level, text in cancellation.report()]

    @staticmethod
    def _tell(lines: list[tuple[int, str]]) -> None:
        for level, text in lines:
            log.log(level, text)
