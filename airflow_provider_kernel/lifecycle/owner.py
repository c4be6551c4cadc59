"""
The owner of one remote object in a task process: it starts the object, and ends it unless it is released.

``on_kill`` runs in a signal handler, and five seconds later the process is killed. So no request is sent on the
main thread: see :mod:`airflow_provider_kernel.lifecycle.signal_safe`. What may happen when is the table in
:mod:`airflow_provider_kernel.lifecycle.transitions`. One thread owns the state and carries out the transitions, in
the order in which the events come; it never waits for a request. Two more threads send requests: the first one in
order, the second one beside it when the first may be held up by an answer or a backoff.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Generic, TypeVar

from airflow_provider_kernel.client.client import KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.errors import (
    KernelAmbiguousStartError,
    KernelError,
    KernelTaskKilledError,
)
from airflow_provider_kernel.client.flow import Flow
from airflow_provider_kernel.client.safe_logger import get_logger
from airflow_provider_kernel.lifecycle.end_sender import EndSender, TakenOverError
from airflow_provider_kernel.lifecycle.ending import WORKER_END_SECONDS
from airflow_provider_kernel.lifecycle.event_thread import EventThread
from airflow_provider_kernel.lifecycle.fencing import Answer, Fence
from airflow_provider_kernel.lifecycle.kill import IN_FLIGHT_SECONDS, KILL_SECONDS, LAST_URGENT_ATTEMPT_SECONDS
from airflow_provider_kernel.lifecycle.ledger import StartRecord
from airflow_provider_kernel.lifecycle.next_in_line import AFTER_WORKER, after_kill
from airflow_provider_kernel.lifecycle.resource import (
    EndReason,
    EndReport,
    OwnedResource,
    Ownership,
    StartMark,
    end_failed,
)
from airflow_provider_kernel.lifecycle.signal_safe import SignalSafeEvent, WorkerThread
from airflow_provider_kernel.lifecycle.transitions import END_IS_UNDER_WAY, TRANSITIONS, Action, Event, State

log = get_logger(__name__)

R = TypeVar("R")
Lines = tuple[tuple[int, str], ...]

#: How long an end waits for the answer to the create request, when nobody is about to kill the process.
_CREATE_SECONDS = 30.0
#: How long the last attempt of an ordinary end may take.
_LAST_ATTEMPT_SECONDS = 45.0


class Owner(Generic[R]):
    """
    Own one object until it has ended or is released. For the main thread of a task process; :meth:`kill` may
    interrupt every other method, in a signal handler.

    :param ownership: with :attr:`Ownership.NOBODY` nothing is ever ended; a kill only stops the start and the wait.
    :param fence: says whether another try has taken the object over; ``None`` where no try can.
    """

    def __init__(
        self,
        resource: OwnedResource[R],
        config: KernelConfig,
        *,
        ownership: Ownership,
        fence: Fence | None = None,
    ) -> None:
        self.resource = resource
        self.killed = False
        #: Whether another try of the task owns the object, or will: then this one leaves its record alone.
        self.was_taken_over = False
        self._ends = ownership is not Ownership.NOBODY
        self._fence = fence
        self._is_replacing = False
        self._until = 0.0
        self._urgent_until = 0.0
        self._wake_up = SignalSafeEvent()
        self._kill = SignalSafeEvent()
        self._answered = SignalSafeEvent()
        self._answered.set()
        #: For the main thread, too, until :meth:`close`: no request of a signal handler goes through it.
        self.client = KernelClient(config, sleep=self._pause_start)
        self._sender = EndSender(config, fence=fence, is_taken_over=lambda: self.was_taken_over)
        self._requests = WorkerThread("kernel-owner-requests")
        self._overtaking_requests = WorkerThread("kernel-owner-urgent-requests")
        # What follows is written on this thread alone.
        self._events = EventThread(
            "kernel-owner",
            is_settled=lambda: self._state not in END_IS_UNDER_WAY,
            may_close=lambda: self._state not in END_IS_UNDER_WAY and self._state is not State.STARTING,
            on_close=self._shut_down,
        )
        self._state = State.IDLE
        self._record = StartRecord()
        self._reason: str = EndReason.TASK_KILLED
        self._orders = 0
        self._doubts: Lines = ()
        self._failed_urgently = False
        self._error: BaseException | None = None

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
        :raises KernelTaskKilledError: when the task was killed before anything was started.
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

        self._events.post(start)
        outcome = answer.get()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def adopt(self, record: StartRecord) -> None:
        """Own an object that was started before."""

        def adopt() -> None:
            self._record = record
            self._transition(Event.KNOWN)

        self._events.post(adopt).wait()

    def nothing_was_started(self) -> None:
        """Forget what a lost start or an earlier try may have left: nothing is there, and another one may start."""
        self._events.post(partial(self._transition, Event.ABSENT)).wait()

    def release(self) -> None:
        """Let go of the object, which is over or has another owner. In a killed task, raise instead."""

        def release() -> None:
            # If the end that the kill ordered failed, the object still has no other owner.
            if not self.killed:
                self._transition(Event.RELEASE)

        self._events.post(release).wait()
        self.check()

    def end(self, reason: str) -> bool:
        """
        End the object because the task ends early, and try for :data:`WORKER_END_SECONDS`.

        :return: whether it is known that nothing is left to end, or that another try owns the object.
        """
        return self._end_in_time(reason) if self._ends else True

    def replace(self, reason: str) -> None:
        """
        End what an earlier try started, also if it is owned by nobody, so that another one may be started.

        To be adopted before.

        :raises KernelTaskKilledError: when the task was killed, or another try has taken the object over.
        :raises KernelError: when it could not be ended; it is still owned.
        """
        self._is_replacing = True
        try:
            has_ended = self._end_in_time(reason)
        finally:
            self._is_replacing = False

        def replace() -> None:
            # A kill that comes now must not be followed by a start.
            if not self.killed:
                self._transition(Event.REPLACED)

        self._events.post(replace).wait()
        if self.killed or self.was_taken_over:
            raise self._killed_error()
        if not has_ended:
            raise self._error or KernelError(f"The {self.resource.kind} of an earlier try could not be ended")

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
        self._events.close()

    # --- in a signal handler ------------------------------------------------------------------------------------

    def kill(self) -> None:
        """
        End the object from a signal handler, in good time before the process is killed. May be called again.

        A create request in flight is waited for: its answer may come in time.
        """
        self._urgent_until = time.monotonic() + LAST_URGENT_ATTEMPT_SECONDS
        self.killed = True
        self._kill.set()
        self._wake_up.set()
        if self._ends or self._is_replacing:
            self._order_and_wait(Event.KILL, EndReason.TASK_KILLED, KILL_SECONDS)

    # --- on the main thread, in a signal handler or not ---------------------------------------------------------

    def _end_in_time(self, reason: str) -> bool:
        self._until = time.monotonic() + WORKER_END_SECONDS
        self._answered.wait(min(_CREATE_SECONDS, WORKER_END_SECONDS))  # it may tell which one it is
        while True:
            if self.killed and self._state in END_IS_UNDER_WAY:
                name = f"{self.resource.kind} {self.external_id or '(its id is not known yet)'}"
                log.warning("Still ending %s. Next in line: %s", name, after_kill(AFTER_WORKER))
            seconds = self._until + _LAST_ATTEMPT_SECONDS - time.monotonic()
            if not self._order_and_wait(Event.END, reason, seconds):
                late = TimeoutError(f"no answer within {WORKER_END_SECONDS:.0f} s")
                end_failed(self.resource.kind, self.external_id, late, next_in_line=AFTER_WORKER).log(log)
                return False
            # The end of a kill has little time. One that failed, before or meanwhile, is ordered anew.
            if self._state is not State.OWNED or not self._failed_urgently or time.monotonic() > self._until:
                return self._state is not State.OWNED

    def _order_and_wait(self, event: Event, reason: str, seconds: float) -> bool:
        """Order an end, and return whether it is over when the time is."""
        settled = SignalSafeEvent()
        self._events.post(partial(self._order_end, event, reason), settled)
        if settled.wait(min(seconds, IN_FLIGHT_SECONDS)):
            return True
        if self.external_id is None:
            self._events.post(partial(self._transition, Event.OVERDUE))
        return settled.wait(max(0.0, seconds - IN_FLIGHT_SECONDS))

    # --- on the thread that owns the state ----------------------------------------------------------------------

    def _transition(self, event: Event) -> Action | None:
        before = self._state
        self._state, action = TRANSITIONS.get((before, event), (before, None))
        if event is Event.TAKEN_OVER and self._state is not before:
            self.was_taken_over = True
        if self._state is State.IDLE:
            self._record = StartRecord()  # whatever it named is over
        if action is Action.ASK:
            self._ask()
        elif action is Action.END:
            self._send_end()
        elif action is Action.OVERTAKE:
            self._send_end(is_overtaking=True)
        elif action is Action.RESCUE:
            self._send_end(is_overtaking=True, decides=False)
        return action

    def _order_end(self, event: Event, reason: str) -> None:
        if event is Event.KILL:
            self._sender.is_overtaken.set()
        if self._state not in END_IS_UNDER_WAY:
            self._reason = EndReason.TASK_KILLED if self.killed else reason
        self._transition(event)

    def _ask(self) -> None:
        if self._fence is None:
            self._transition(Event.OURS)
        else:
            self._overtaking_requests.submit(partial(self._ask_fence, self._fence, self._record))

    def _settle_question(self, doubts: Lines) -> None:
        self._doubts = doubts  # to be logged with the end: the main thread waits in the signal handler
        self._transition(Event.OURS)

    def _send_end(self, *, is_overtaking: bool = False, decides: bool = True) -> None:
        """
        Let an end be sent.

        :param decides: whether a failure is the last word; after a rescue the create's answer is.
        """
        self._orders += decides
        urgent = self._state is State.ENDING_URGENTLY
        if not urgent:
            self._sender.is_overtaken.clear()
        send = partial(
            self._sender.end,
            self.resource,
            self._record,
            self._reason,
            until=self._urgent_until if urgent else self._until,
            urgent=urgent,
            is_overtaking=is_overtaking,
        )
        doubts, self._doubts = self._doubts, ()
        thread = self._overtaking_requests if is_overtaking else self._requests
        thread.submit(partial(self._end, self._orders if decides else None, send, doubts, urgent=urgent))

    def _settle_end(self, order: int | None, report: EndReport, *, urgent: bool) -> None:
        if report.is_done and report.found:
            self._transition(Event.ENDED)
        elif order == self._orders:  # else another end was ordered since, which decides
            self._failed_urgently = urgent
            self._error = report.error
            self._transition(Event.END_FAILED)

    def _refusal(self) -> BaseException:
        return self._killed_error() if self.killed else RuntimeError(f"Nothing can be started: {self._state.value}")

    def _killed_error(self) -> KernelTaskKilledError:
        name = f" {self.external_id}" if self.external_id else ""
        return KernelTaskKilledError(f"The task was killed while it owned {self.resource.kind}{name}")

    def _shut_down(self) -> None:
        if self._fence is not None:
            self._fence.close()
        self._requests.submit(self.client.close)
        self._requests.submit(self._sender.close)
        self._overtaking_requests.submit(self._sender.close_overtaking)
        self._requests.close()
        self._overtaking_requests.close()

    # --- on the threads that send requests ----------------------------------------------------------------------

    def _create(self, record: StartRecord, flow: Flow[R], answer: SimpleQueue[R | BaseException]) -> None:
        outcome: R | BaseException
        try:
            self.check()
            outcome = self.client.run(flow)
            record = record.with_id(self.resource.external_id(outcome))
            event = Event.KNOWN
        except BaseException as error:  # noqa: BLE001 (the main thread raises it)
            outcome = error
            event = Event.LOST if isinstance(error, KernelAmbiguousStartError) else Event.ABSENT

        def settle() -> None:
            self._record = record
            self._answered.set()
            self._transition(event)
            # An object that was taken over is not to be recorded by this try.
            answer.put(self._killed_error() if self.was_taken_over else outcome)

        self._events.post(settle)

    def _ask_fence(self, fence: Fence, record: StartRecord) -> None:
        answer = fence.ask(record)
        if answer.may_end:
            self._events.post(partial(self._settle_question, answer.lines))
        else:
            self._leave(answer)

    def _pause_start(self, seconds: float) -> None:
        """Wait before the create is sent again; a kill abandons it."""
        if self._kill.wait(seconds):
            self.check()

    def _end(self, order: int | None, send: Callable[[], EndReport], doubts: Lines, *, urgent: bool) -> None:
        try:
            report = send()
        except TakenOverError as error:
            self._leave(error.answer)
            return
        report = report._replace(lines=doubts + report.lines)
        settle = partial(self._settle_end, order, report, urgent=urgent)
        if urgent:
            # The main thread waits in the signal handler, perhaps on top of a log call: request before log line.
            self._events.post(settle)
            report.log(log)
        else:
            if report.is_done or not self._sender.is_overtaken.is_set():
                report.log(log)
            self._events.post(settle)

    def _leave(self, answer: Answer) -> None:
        self._events.post(partial(self._transition, Event.TAKEN_OVER))
        EndReport(answer.lines).log(log)
