"""
The response that a task owes to a waiting invocation: it is sent once, also when the task is killed.

A signal handler must not touch what the interrupted main thread may hold (see
:mod:`airflow_provider_kernel.lifecycle.signal_safe`). So the requests go out on worker threads, with clients of
their own, all made before the task's work begins: one sends for the main thread; one decides after a kill, and
waits for a response that is already in flight; one fetches the state of the task from Airflow, which may never
answer when the kill interrupted another call of Airflow.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from airflow_provider_kernel.client.client import KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.errors import KernelError, KernelInvocationKilledError
from airflow_provider_kernel.client.resources.invocations import flows, requests
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationFinishedError
from airflow_provider_kernel.client.resources.invocations.models import Invocation
from airflow_provider_kernel.client.resources.invocations.status import InvocationStatus
from airflow_provider_kernel.lifecycle.kill import (
    IN_FLIGHT_SECONDS,
    KILL_SECONDS,
    reason_to_end,
    within_kill_budget,
)
from airflow_provider_kernel.lifecycle.ledger import StartRecord
from airflow_provider_kernel.lifecycle.resource import EndReport, try_to_end
from airflow_provider_kernel.lifecycle.signal_safe import SignalSafeEvent, WorkerThread
from airflow_provider_kernel.lifecycle.task_instances import TaskState, fetch_task_state
from airflow_provider_kernel.owned.invocation import EndableInvocation

log = logging.getLogger(__name__)

#: :meth:`InvocationResponder.check` fetches the invocation at most once in this time.
CHECK_SECONDS = 1.0


class InvocationResponder:
    """
    Respond to one invocation.

    The main thread of a task process calls the methods; :meth:`kill` may interrupt each of them. What a kill means
    for the invocation depends on the state of the task instance, and on whether it has retries left.
    """

    def __init__(self, config: KernelConfig, invocation_id: str, *, ti: Any, retries_left: bool) -> None:
        self.invocation_id = invocation_id
        self.killed = False
        self._ti = ti
        self._retries_left = retries_left
        self._is_settled = False
        self._fetched_at = -CHECK_SECONDS
        self._kill_seen = SignalSafeEvent()
        self._kill_handled = SignalSafeEvent()
        self._client = KernelClient(config, sleep=self._sleep)
        self._urgent_client = KernelClient(within_kill_budget(config), logger=None)
        self._sender = WorkerThread("kernel-responder")
        self._kill_worker = WorkerThread("kernel-responder-kill")
        self._state_worker = WorkerThread("kernel-responder-state")

    # --- on the main thread -------------------------------------------------------------------------------------

    def fetch(self) -> Invocation:
        return self._sender.submit(lambda: self._client.send(requests.get_invocation(self.invocation_id))).result()

    def check(self) -> None:
        """Raise when nobody waits for a response any more. Cheap enough to be called often."""
        self.check_killed()
        if time.monotonic() - self._fetched_at < CHECK_SECONDS:
            return
        self._fetched_at = time.monotonic()
        try:
            invocation = self.fetch()
        except KernelError as error:
            if error.permanent:
                raise
            log.warning("Invocation %s could not be fetched: %s", self.invocation_id, error)
            return
        if invocation.is_final:
            raise KernelInvocationFinishedError(invocation, InvocationStatus.SUCCEEDED.value)

    def check_killed(self) -> None:
        """Raise in a killed task, once the kill has been handled."""
        if self.killed:
            self._kill_handled.wait(KILL_SECONDS)
            raise self._killed_error()

    def complete(self, output: Any) -> Invocation:
        """End the invocation as succeeded; raise when it had ended before."""

        def send() -> Invocation:
            if self.killed:
                raise self._killed_error()
            invocation = self._client.run(flows.answer_invocation(self.invocation_id, output))
            self._is_settled = True
            return invocation

        return self._sender.submit(send).result()

    def fail(self, reason: str, details: Mapping[str, Any] | None = None) -> None:
        """End the invocation as failed. A failure to do so is logged: it must not hide why the task fails."""

        def send() -> EndReport:
            return self._end(self._client, reason, details=details)

        self._sender.submit(send).result().log(log)

    def settle(self) -> None:
        """Note that the invocation has ended: nothing is left to do for it."""
        self._is_settled = True

    def kill(self) -> None:
        """Handle a kill from a signal handler. May be called at any time, and again."""
        if self._is_settled:
            return
        if not self.killed:
            self.killed = True
            self._kill_seen.set()
            self._kill_worker.submit(self._handle_kill)
        self._kill_handled.wait(KILL_SECONDS)

    def close(self) -> None:
        """End the threads once they are done. Those for a kill stay while the invocation still waits."""
        self._sender.submit(self._client.close)
        self._sender.close()
        if self._is_settled and not self.killed:
            self._kill_worker.submit(self._close_kill_workers)

    # --- on the worker threads ----------------------------------------------------------------------------------

    def _sleep(self, seconds: float) -> None:
        if self._kill_seen.wait(seconds):
            raise self._killed_error()

    def _handle_kill(self) -> None:
        report = EndReport()
        try:
            report = self._end_or_leave()
        finally:
            # The main thread waits in the signal handler, perhaps on top of a log call: log only afterwards.
            self._kill_handled.set()
            report.log(log)
            self._close_kill_workers()

    def _end_or_leave(self) -> EndReport:
        state, warnings = self._fetch_task_state()
        # A response in flight comes first: it is the better one, and must not be overwritten.
        self._sender.drain(IN_FLIGHT_SECONDS)
        if self._is_settled:
            return EndReport(warnings)
        reason = reason_to_end(state, retries_left=self._retries_left)
        if reason is None:
            line = f"Invocation {self.invocation_id} is left to the next try (task: {state})"
            return EndReport((*warnings, (logging.INFO, line)))
        report = self._end(self._urgent_client, reason, urgent=True)
        return report._replace(lines=warnings + report.lines)

    def _fetch_task_state(self) -> tuple[TaskState, tuple[tuple[int, str], ...]]:
        work = self._state_worker.submit(lambda: fetch_task_state(self._ti))
        try:
            return work.result(IN_FLIGHT_SECONDS), ()
        except Exception as error:  # noqa: BLE001 (whatever keeps Airflow from answering)
            line = f"The state of the task could not be fetched: {type(error).__name__}"
            return TaskState.UNKNOWN, ((logging.WARNING, line),)

    def _end(
        self, client: KernelClient, reason: str, *, details: Mapping[str, Any] | None = None, urgent: bool = False
    ) -> EndReport:
        record = StartRecord.naming(self.invocation_id)
        report = client.run(try_to_end(EndableInvocation(details), record, reason, urgent=urgent))
        self._is_settled = report.is_done
        return report

    def _close_kill_workers(self) -> None:
        self._urgent_client.close()
        self._kill_worker.close()
        self._state_worker.close()

    def _killed_error(self) -> KernelInvocationKilledError:
        return KernelInvocationKilledError(
            f"The task was killed while invocation {self.invocation_id} waited for it"
        )
