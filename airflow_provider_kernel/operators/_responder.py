"""
The response that a task owes to a waiting invocation: it is sent once, also when the task is killed.

A signal handler must not touch what the interrupted main thread may hold (see
:mod:`airflow_provider_kernel.lifecycle.signal_safe`). So the requests go out on worker threads, with clients of
their own, all made before the task's work begins: one sends for the main thread; one decides after a kill, and
waits for a response that is already in flight; one asks Airflow, which may never answer when the kill interrupted
another call of Airflow (:mod:`airflow_provider_kernel.lifecycle.fencing`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from airflow_provider_kernel.client.client import KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.errors import KernelError, KernelTaskKilledError
from airflow_provider_kernel.client.flow import Flow
from airflow_provider_kernel.client.outage import Outage, is_about_the_request, persist
from airflow_provider_kernel.client.resources.invocations import flows
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationFinishedError
from airflow_provider_kernel.client.resources.invocations.models import Invocation
from airflow_provider_kernel.client.resources.invocations.status import InvocationStatus
from airflow_provider_kernel.client.resources.invocations.time_limits import LONGEST_LIFE_SECONDS
from airflow_provider_kernel.client.safe_logger import get_logger
from airflow_provider_kernel.lifecycle.end_sender import EndSender, TakenOverError
from airflow_provider_kernel.lifecycle.ending import WORKER_END_SECONDS
from airflow_provider_kernel.lifecycle.fencing import Answer, Fence
from airflow_provider_kernel.lifecycle.kill import (
    IN_FLIGHT_SECONDS,
    KILL_SECONDS,
    LAST_URGENT_ATTEMPT_SECONDS,
    reason_to_end,
)
from airflow_provider_kernel.lifecycle.ledger import StartRecord
from airflow_provider_kernel.lifecycle.next_in_line import AFTER_RESPONDER
from airflow_provider_kernel.lifecycle.ownership import OwnershipPublisher
from airflow_provider_kernel.lifecycle.resource import EndReport
from airflow_provider_kernel.lifecycle.signal_safe import SignalSafeEvent, WorkerThread
from airflow_provider_kernel.owned.invocation import EndableInvocation

log = get_logger(__name__)

#: The kind of the ownership record: which try is to respond. It is not the invocation that is owned.
_KIND = "response"

#: :meth:`InvocationResponder.check` fetches the invocation at most once in this time.
CHECK_SECONDS = 1.0


class InvocationResponder:
    """
    Respond to one invocation.

    The main thread of a task process calls the methods; :meth:`kill` may interrupt each of them. What a kill means
    for the invocation depends on the state of the task instance, and on whether it has retries left.
    """

    def __init__(
        self, config: KernelConfig, invocation_id: str, *, ti: Any, kernel_conn_id: str, retries_left: bool
    ) -> None:
        self.invocation_id = invocation_id
        self.killed = False
        self._record = StartRecord.naming(invocation_id)
        self._retries_left = retries_left
        self._is_settled = False
        self._is_closed = False
        self._reason_of_kill: str | None = None
        self._fetched_at = -CHECK_SECONDS
        #: Set when nobody waits for an answer any more: after a kill, or when a timeout has ended the wait.
        self._is_abandoned = SignalSafeEvent()
        self._kill_handled = SignalSafeEvent()
        self._publisher = OwnershipPublisher(_KIND, ti, kernel_conn_id=kernel_conn_id, is_owned=False)
        self._fence = Fence(_KIND, ti, self._publisher)
        self._outage = Outage(
            f"invocation {invocation_id}",
            was_seen=True,  # by who handed its id on
            longest=LONGEST_LIFE_SECONDS,
            on_error=lambda error: log.warning("Invocation %s could not be read: %s", invocation_id, error),
        )
        self._client = KernelClient(config, sleep=self._sleep)
        self._ends = EndSender(config, fence=self._fence, next_in_line=AFTER_RESPONDER)
        self._sender = WorkerThread("kernel-responder")
        self._kill_worker = WorkerThread("kernel-responder-kill")

    # --- on the main thread -------------------------------------------------------------------------------------

    def publish(self) -> None:
        """Write to XCom that this try is to respond, so that a former try that comes back does not."""
        self._publisher.publish(self._record)

    def fetch(self) -> Invocation:
        """
        Fetch the invocation for the first time, through an outage.

        :raises KernelLostContactError: when the outage lasts too long.
        :raises KernelError: when there is no such invocation.
        """
        return self._read(self._persist(partial(EndableInvocation().get, self.invocation_id)))

    def check(self) -> None:
        """Raise when nobody waits for a response any more. Cheap enough to be called often."""
        self.check_killed()
        if time.monotonic() - self._fetched_at < CHECK_SECONDS:
            return
        self._fetched_at = time.monotonic()
        try:
            invocation = self._read(EndableInvocation().get(self.invocation_id))
        except KernelError as error:
            self._outage.failed(error)
            return
        self._outage.succeeded()
        if invocation.is_final:
            raise KernelInvocationFinishedError(invocation, InvocationStatus.SUCCEEDED.value)

    def _read(self, flow: Flow[Invocation]) -> Invocation:
        if self._sender.is_of_another_process:  # the task's function has forked it
            return self._client.run(flow)
        return self._send(lambda: self._client.run(flow))

    def _send(self, request: Callable[[], Invocation]) -> Invocation:
        work = self._sender.submit(request)
        try:
            return work.result()
        finally:
            if not work.wait(0):  # the task's timeout; a failure is then sent after this, on the same thread
                self._is_abandoned.set()

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
            invocation = self._client.run(self._answer(output))
            self._is_settled = True
            return invocation

        return self._send(send)

    def fail(self, reason: str, details: Mapping[str, Any] | None = None) -> None:
        """
        End the invocation as failed, unless another try of the task is to respond by now.

        It is tried for :data:`WORKER_END_SECONDS`. A failure is logged: it must not hide why the task fails.
        """

        def send() -> EndReport:
            answer = self._fence.ask(self._record)
            if not answer.may_end:
                return self._left(answer)
            report = self._end(reason, time.monotonic() + WORKER_END_SECONDS, details=details)
            return report._replace(lines=answer.lines + report.lines)

        self._sender.submit(send).result().log(log)

    def end_after_kill(self) -> None:
        """In a killed task, go on with an end that the kill ordered and that failed, and raise."""
        if self.killed:
            self._kill_handled.wait(KILL_SECONDS)
            if self._reason_of_kill is not None and not self._is_settled:
                self._ends.is_overtaken.clear()
                self.fail(self._reason_of_kill)
            raise self._killed_error()

    def settle(self) -> None:
        """Note that the invocation has ended: nothing is left to do for it."""
        self._is_settled = True

    def kill(self) -> None:
        """Handle a kill from a signal handler. May be called at any time, and again."""
        if self._is_settled:
            return
        if not self.killed:
            self.killed = True
            self._is_abandoned.set()
            self._ends.is_overtaken.set()
            self._kill_worker.submit(partial(self._handle_kill, time.monotonic()))
        self._kill_handled.wait(KILL_SECONDS)

    def close(self) -> None:
        """End the threads once they are done. Those for a kill stay while the invocation still waits."""
        if self._sender.is_of_another_process:
            return
        self._sender.submit(self._client.close)
        self._sender.submit(self._ends.close)
        self._sender.close()
        self._is_closed = True
        if self._is_settled or self._kill_handled.is_set():
            self._close_kill_workers()

    # --- on the worker threads ----------------------------------------------------------------------------------

    def _answer(self, output: Any) -> Flow[Invocation]:
        # Fetched first: an update of one that has ended might overwrite its result.
        get = partial(EndableInvocation().get, self.invocation_id)
        before = yield from self._persist(get)
        if before.is_final:
            raise KernelInvocationFinishedError(before, InvocationStatus.SUCCEEDED.value)
        update = partial(flows.update_invocation, self.invocation_id, InvocationStatus.SUCCEEDED, output)
        return (yield from self._persist(update))

    def _persist(self, attempt: Callable[[], Flow[Invocation]]) -> Flow[Invocation]:
        # An outage at the wrong moment must not fail an invocation whose answer is there.
        return persist(attempt, self._outage, repeats=lambda error: not is_about_the_request(error))

    def _sleep(self, seconds: float) -> None:
        if self._is_abandoned.wait(seconds):
            raise self._killed_error() if self.killed else KernelError("The task no longer waits for an answer")

    def _handle_kill(self, began: float) -> None:
        report = EndReport()
        try:
            report = self._end_or_leave(began)
        finally:
            # The main thread waits in the signal handler, perhaps on top of a log call: log only afterwards.
            self._kill_handled.set()
            report.log(log)
            if self._is_closed:
                self._close_kill_workers()

    def _end_or_leave(self, began: float) -> EndReport:
        answer = self._fence.ask(self._record)
        # A response in flight comes first: it is the better one, and must not be overwritten.
        self._sender.drain(max(0.0, began + IN_FLIGHT_SECONDS - time.monotonic()))
        if self._is_settled:
            return EndReport(answer.lines)
        reason = reason_to_end(answer.state, retries_left=self._retries_left)
        if reason is None or not answer.may_end:
            return self._left(answer)
        self._reason_of_kill = reason
        report = self._end(reason, began + LAST_URGENT_ATTEMPT_SECONDS, urgent=True)
        return report._replace(lines=answer.lines + report.lines)

    def _left(self, answer: Answer) -> EndReport:
        line = f"Invocation {self.invocation_id} is left to another try of the task, which is {answer.state}"
        return EndReport(((logging.INFO, line),))

    def _end(
        self, reason: str, until: float, *, details: Mapping[str, Any] | None = None, urgent: bool = False
    ) -> EndReport:
        try:
            report = self._ends.end(
                EndableInvocation(details), self._record, reason, until=until, urgent=urgent, is_overtaking=urgent
            )
        except TakenOverError as error:
            return self._left(error.answer)
        self._is_settled = report.is_done
        return report

    def _close_kill_workers(self) -> None:
        self._ends.close_overtaking()
        self._kill_worker.close()
        self._fence.close()

    def _killed_error(self) -> KernelTaskKilledError:
        return KernelTaskKilledError(f"The task was killed while invocation {self.invocation_id} waited for it")
