"""
The owner of one remote object in a task process: it starts the object, and ends it unless it is released.

``on_kill`` runs in a signal handler, and five seconds later the process is killed. So no request is sent on the
main thread: see :mod:`airflow_provider_kernel.lifecycle.signal_safe`. What may happen when is the table in
:mod:`airflow_provider_kernel.lifecycle.transitions`. One thread owns the state and carries out the transitions, in
the order in which the events come; it never waits for a request. Two more threads send requests: the first one in
order, the second one beside it when the first may be held up by an answer or a backoff.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Generic, TypeVar

from airflow_provider_kernel.client.client import KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.errors import KernelAmbiguousStartError, KernelInvocationKilledError
from airflow_provider_kernel.client.flow import Flow
from airflow_provider_kernel.lifecycle.kill import IN_FLIGHT_SECONDS, KILL_SECONDS, within_kill_budget
from airflow_provider_kernel.lifecycle.ledger import StartRecord
from airflow_provider_kernel.lifecycle.resource import (
    EndReason,
    EndReport,
    OwnedResource,
    Ownership,
    StartMark,
    end_failed,
    try_to_end,
)
from airflow_provider_kernel.lifecycle.signal_safe import SignalSafeEvent, Work, WorkerThread
from airflow_provider_kernel.lifecycle.transitions import END_IS_UNDER_WAY, TRANSITIONS, Action, Event, State

log = logging.getLogger(__name__)

R = TypeVar("R")

#: How long an end may take when nobody is about to kill the process.
END_SECONDS = 30.0


class Owner(Generic[R]):
    """
    Own one object, from its start until it has ended or is released.

    For the main thread of a task process. :meth:`kill` may interrupt every other method, in a signal handler.

    :param ownership: with :attr:`Ownership.NOBODY` nothing is ever ended; a kill only stops the start and the wait.
    """

    def __init__(self, resource: OwnedResource[R], config: KernelConfig, *, ownership: Ownership) -> None:
        self.resource = resource
        self.killed = False
        self._ends = ownership is not Ownership.NOBODY
        self._wake_up = SignalSafeEvent()
        self._kill = SignalSafeEvent()
        self._overtaken = SignalSafeEvent()
        self._answered = SignalSafeEvent()
        self._answered.set()
        # Each thread that sends requests has clients of its own. The urgent ones must not log: see _end().
        urgent = within_kill_budget(config)
        self._client = KernelClient(config, sleep=self._pause)
        self._urgent_client = KernelClient(urgent, logger=None)
        self._overtaking_client = KernelClient(urgent, logger=None)
        self._requests = WorkerThread("kernel-owner-requests")
        self._overtaking_requests = WorkerThread("kernel-owner-urgent-requests")
        # What follows is written on this thread alone.
        self._transitions = WorkerThread("kernel-owner")
        self._state = State.IDLE
        self._record = StartRecord()
        self._reason: str = EndReason.TASK_KILLED
        self._orders = 0
        self._waiting: list[SignalSafeEvent] = []
        self._is_closing = False

    # --- on the main thread -------------------------------------------------------------------------------------

    @property
    def external_id(self) -> str | None:
        return self._record.external_id

    def start(self, record: StartRecord, mark: StartMark) -> R:
        """
        Start the object.

        :param record: what the ledger holds of this start; the object is found by it should the answer get lost.
        :return: the object as the create's answer describes it. Also in a task that was killed meanwhile, which
            :meth:`check` raises once the id is stored.
        :raises KernelInvocationKilledError: when the task was killed before anything was started.
        :raises KernelAmbiguousStartError: when it is unknown whether anything was started.
        :raises KernelError: when nothing was started.
        """
        self.check()
        flow = self.resource.create(mark)
        answer: SimpleQueue[R | BaseException] = SimpleQueue()

        def start() -> None:
            if self._transition(Event.START) is Action.CREATE:
                self._record = record
                self._answered.clear()
                self._requests.submit(partial(self._create, record, flow, answer))
            else:
                answer.put(self._refusal())

        self._post(start)
        outcome = answer.get()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def adopt(self, record: StartRecord) -> None:
        """Own an object that was started before."""

        def adopt() -> None:
            self._record = record
            self._transition(Event.KNOWN)

        self._post(adopt).wait()

    def nothing_was_started(self) -> None:
        """Learn that a start whose answer got lost has started nothing, so that it may be sent again."""
        self._post(partial(self._transition, Event.ABSENT)).wait()

    def release(self) -> None:
        """Let go of the object, which is over or has another owner. In a killed task, raise instead."""

        def release() -> None:
            # If the end that the kill ordered failed, the object still has no other owner.
            if not self.killed:
                self._transition(Event.RELEASE)

        self._post(release).wait()
        self.check()

    def end(self, reason: str) -> bool:
        """End the object because the task ends early; return whether it is known that nothing is left to end."""
        if not self._ends:
            return True
        self._answered.wait(END_SECONDS)  # the create in flight may tell which one it is
        settled = SignalSafeEvent()
        self._post(partial(self._order_end, Event.END, reason), settled)
        if not settled.wait(END_SECONDS):
            late = TimeoutError(f"no answer within {END_SECONDS:.0f} s; it ends at its own time limit")
            end_failed(self.resource.kind, self.external_id, late).log(log)
            return False
        return self._state is not State.OWNED

    def wait(self, seconds: float) -> None:
        """Sleep; :meth:`wake` and a kill cut it short, and in a killed task it raises."""
        self.check()
        if self._wake_up.wait(seconds):
            self._wake_up.clear()
            self.check()

    def wake(self) -> None:
        """End the sleep of the main thread. For other threads."""
        self._wake_up.set()

    def check(self) -> None:
        """Raise in a killed task: after ``on_kill`` has returned, ``execute`` continues."""
        if self.killed:
            raise self._killed_error()

    def close(self) -> None:
        """End the threads and close the clients, once nothing is under way. Waits for nothing."""

        def close() -> None:
            self._is_closing = True

        self._post(close)

    # --- in a signal handler ------------------------------------------------------------------------------------

    def kill(self) -> None:
        """
        End the object from a signal handler, in good time before the process is killed. May be called again.

        A create request in flight is waited for: its answer may come in time.
        """
        self.killed = True
        self._kill.set()
        self._wake_up.set()
        if not self._ends:
            return
        settled = SignalSafeEvent()
        self._post(partial(self._order_end, Event.KILL, EndReason.TASK_KILLED), settled)
        if not settled.wait(IN_FLIGHT_SECONDS):
            if self.external_id is None:
                self._post(partial(self._transition, Event.OVERDUE))
            settled.wait(KILL_SECONDS - IN_FLIGHT_SECONDS)

    # --- on the thread that owns the state ----------------------------------------------------------------------

    def _post(self, handle: Callable[[], object], settled: SignalSafeEvent | None = None) -> Work[None]:
        """Handle an event after those that came before; ``settled`` is set as soon as no end is under way."""

        def work() -> None:
            handle()
            if settled is not None:
                self._waiting.append(settled)
            if self._state in END_IS_UNDER_WAY:
                return
            while self._waiting:
                self._waiting.pop().set()
            if self._is_closing and self._state is not State.STARTING:
                self._shut_down()

        try:
            return self._transitions.submit(work)
        except RuntimeError:  # closed, and so nothing is under way
            nothing: Work[None] = Work(lambda: None)
            nothing.run()
            if settled is not None:
                settled.set()
            return nothing

    def _transition(self, event: Event) -> Action | None:
        self._state, action = TRANSITIONS.get((self._state, event), (self._state, None))
        if action is Action.END:
            self._overtaken.clear()
            self._requests.submit(self._ordered_end(self._urgent_client))
        elif action is Action.OVERTAKE:
            self._overtaken.set()
            self._overtaking_requests.submit(self._ordered_end(self._overtaking_client))
        elif action is Action.RESCUE:
            self._overtaking_requests.submit(partial(self._rescue, self._record, self._reason))
        return action

    def _order_end(self, event: Event, reason: str) -> None:
        if self._state not in END_IS_UNDER_WAY:
            self._reason = reason
        self._transition(event)

    def _ordered_end(self, urgent_client: KernelClient) -> Callable[[], None]:
        self._orders += 1
        urgent = self._state is State.ENDING_URGENTLY
        client = urgent_client if urgent else self._client
        return partial(self._end, self._orders, client, self._record, self._reason, urgent=urgent)

    def _settle_end(self, order: int, report: EndReport) -> None:
        if report.is_done and report.found:
            self._transition(Event.ENDED)
        elif order == self._orders:  # else another end was ordered since, which decides
            self._transition(Event.END_FAILED)

    def _refusal(self) -> BaseException:
        return self._killed_error() if self.killed else RuntimeError(f"Nothing can be started: {self._state.value}")

    def _killed_error(self) -> KernelInvocationKilledError:
        name = f" {self.external_id}" if self.external_id else ""
        return KernelInvocationKilledError(
            f"The task was killed while it waited for its {self.resource.kind}{name}"
        )

    def _shut_down(self) -> None:
        self._requests.submit(self._client.close)
        self._requests.submit(self._urgent_client.close)
        self._overtaking_requests.submit(self._overtaking_client.close)
        self._requests.close()
        self._overtaking_requests.close()
        self._transitions.close()

    # --- on the threads that send requests ----------------------------------------------------------------------

    def _create(self, record: StartRecord, flow: Flow[R], answer: SimpleQueue[R | BaseException]) -> None:
        outcome: R | BaseException
        try:
            self.check()
            outcome = self._client.run(flow)
            record = record.with_id(self.resource.external_id(outcome))
            event = Event.KNOWN
        except BaseException as error:  # noqa: BLE001 (the main thread raises it)
            outcome = error
            event = Event.LOST if isinstance(error, KernelAmbiguousStartError) else Event.ABSENT

        def settle() -> None:
            self._record = record
            self._answered.set()
            self._transition(event)
            answer.put(outcome)

        self._post(settle)

    def _pause(self, seconds: float) -> None:
        """Wait before another attempt. A kill abandons a start, and an end only if another one has overtaken it."""
        abandoned = self._overtaken if self._answered.is_set() else self._kill
        if abandoned.wait(seconds):
            self.check()

    def _end(self, order: int, client: KernelClient, record: StartRecord, reason: str, *, urgent: bool) -> None:
        report = self._try_to_end(client, record, reason, urgent=urgent)
        settle = partial(self._settle_end, order, report)
        if urgent:
            # The main thread waits in the signal handler, perhaps on top of a log call: request before log line.
            self._post(settle)
            report.log(log)
        else:
            if report.is_done or not self._overtaken.is_set():
                report.log(log)
            self._post(settle)

    def _rescue(self, record: StartRecord, reason: str) -> None:
        report = self._try_to_end(self._overtaking_client, record, reason, urgent=True)
        if report.is_done and report.found:  # else the create's answer decides
            self._post(partial(self._transition, Event.ENDED))
        report.log(log)

    def _try_to_end(self, client: KernelClient, record: StartRecord, reason: str, *, urgent: bool) -> EndReport:
        try:
            return client.run(try_to_end(self.resource, record, reason, urgent=urgent))
        except Exception as error:  # noqa: BLE001 (a bug here must not let the signal handler wait in vain)
            return end_failed(self.resource.kind, record.external_id, error)
