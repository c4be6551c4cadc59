"""
The answer that a task owes to an invocation: it is given once, also when the task is killed.

A signal handler must not touch what the interrupted main thread may hold (see
:mod:`airflow_provider_kernel.operators.guard`), so the requests are made on threads of their own, with clients of
their own, all of it there before the task's work begins. One thread sends what the main thread wants to send;
another one decides after a kill, and waits for an answer that is already on its way; a third asks Airflow what
has become of the task, which may never return when the main thread was interrupted amid a question of its own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from airflow_provider_kernel.client.client import KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.errors import KernelError, KernelInvocationKilledError
from airflow_provider_kernel.client.resources.invocations import flows, requests
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationFinishedError
from airflow_provider_kernel.client.resources.invocations.models import Invocation
from airflow_provider_kernel.client.resources.invocations.status import InvocationStatus
from airflow_provider_kernel.lifecycle.kill_budget import IN_FLIGHT_SECONDS, KILL_SECONDS, within_kill_budget
from airflow_provider_kernel.lifecycle.kill_decision import reason_to_end
from airflow_provider_kernel.lifecycle.task_instances import TaskState, fetch_task_state

log = logging.getLogger(__name__)

T = TypeVar("T")
Order = Callable[[], None]

#: A look for :meth:`Answer.check` is not repeated sooner.
CHECK_SECONDS = 1.0


class Answer:
    """
    Answer one invocation.

    :param config: how to reach the API.
    :param invocation_id: the invocation that waits.
    :param ti: the task instance, for asking what has become of it.
    :param retries_left: whether Airflow tries the task again when it fails.
    """

    def __init__(self, config: KernelConfig, invocation_id: str, *, ti: Any, retries_left: bool) -> None:
        self.invocation_id = invocation_id
        self.killed = False
        self._ti = ti
        self._retries_left = retries_left
        self._is_settled = False
        self._is_closed = False
        self._looked_at = -CHECK_SECONDS
        self._client = KernelClient(config, sleep=self._pause)
        self._hasty_client = KernelClient(within_kill_budget(config), logger=None)
        self._orders: SimpleQueue[Order | None] = SimpleQueue()
        self._kills: SimpleQueue[bool] = SimpleQueue()
        self._questions: SimpleQueue[bool] = SimpleQueue()
        self._states: SimpleQueue[TaskState] = SimpleQueue()
        self._dealt_with: SimpleQueue[None] = SimpleQueue()
        self._wake_up: SimpleQueue[None] = SimpleQueue()
        for work in (self._work, self._await_kill, self._ask):
            threading.Thread(target=work, name="kernel-invocation-answer", daemon=True).start()

    # --- on the main thread -------------------------------------------------------------------------------------

    def look(self) -> Invocation:
        """
        Look at the invocation.

        :raises KernelError: when that is not possible.
        """
        return self._do(lambda: self._client.send(requests.get_invocation(self.invocation_id)))

    def check(self) -> None:
        """
        Refuse to go on when nobody waits any more; cheap enough to be called often.

        :raises KernelInvocationFinishedError: when the invocation has been ended by somebody else.
        :raises KernelInvocationKilledError: when the task was killed.
        :raises KernelError: when the invocation cannot be looked at, now or later.
        """
        self.check_killed()
        if time.monotonic() - self._looked_at < CHECK_SECONDS:
            return
        self._looked_at = time.monotonic()
        try:
            invocation = self.look()
        except KernelError as error:
            if error.permanent:
                raise
            log.warning("Invocation %s could not be looked at: %s", self.invocation_id, error)
            return
        if invocation.is_final:
            raise KernelInvocationFinishedError(invocation, InvocationStatus.SUCCEEDED.value)

    def check_killed(self) -> None:
        """
        Refuse to go on in a killed task.

        :raises KernelInvocationKilledError: when it was killed; what follows from that has been sent by then.
        """
        if not self.killed:
            return
        self._await_dealt_with(KILL_SECONDS)
        raise KernelInvocationKilledError(
            f"The task was killed while invocation {self.invocation_id} waited for it"
        )

    def complete(self, output: Any) -> Invocation:
        """
        Answer with the output.

        :param output: any value that JSON can hold.
        :raises KernelInvocationFinishedError: when the invocation was over before.
        :raises KernelError: when it could not be done.
        """

        def send() -> Invocation:
            self.check_before_sending()
            invocation = self._client.run(flows.answer_invocation(self.invocation_id, output))
            self._is_settled = True
            return invocation

        return self._do(send)

    def fail(self, reason: str, details: Mapping[str, Any] | None = None) -> None:
        """
        Answer that there will be no output. A failure to do so is logged: it must not hide why.

        :param reason: why, one line.
        :param details: what to tell beside the reason.
        """

        def send() -> list[tuple[int, str]]:
            flow = flows.cancel_invocation(self.invocation_id, reason, details=details)
            lines = list(self._client.run(flow).report())
            self._is_settled = True
            return lines

        try:
            lines = self._do(send)
        except KernelError:
            log.exception("Invocation %s could not be ended; it ends at its own time limit", self.invocation_id)
        else:
            _tell(lines)

    def settle(self) -> None:
        """Say that the invocation is over, so that there is nothing to be done for it."""
        self._is_settled = True

    def kill(self) -> None:
        """
        Deal with a kill, from a signal handler, in good time before the process is killed.

        May be called more than once, and also when nothing is to be done any more.
        """
        if self._is_settled:
            return
        if not self.killed:
            self.killed = True
            self._wake_up.put(None)
            self._questions.put(True)
            self._kills.put(True)
        self._await_dealt_with(KILL_SECONDS)

    def close(self) -> None:
        """End the threads once they have done what they were told, unless the invocation still waits."""
        self._is_closed = True
        self._orders.put(None)
        if self._is_settled:
            self._kills.put(False)
            self._questions.put(False)

    def check_before_sending(self) -> None:
        """
        Refuse to answer with an output in a killed task; on the thread that would send it.

        :raises KernelInvocationKilledError: then.
        """
        if self.killed:
            raise KernelInvocationKilledError(
                f"The task was killed while invocation {self.invocation_id} waited for it"
            )

    def _do(self, work: Callable[[], T]) -> T:
        # A queue for each order: an AirflowTaskTimeout may take the main thread away before the result is there.
        results: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()

        def order() -> None:
            try:
                results.put((work(), None))
            except BaseException as error:  # noqa: BLE001 (it is raised on the main thread)
                results.put((None, error))

        self._orders.put(order)
        result, error = results.get()
        if error is not None:
            raise error
        return result  # type: ignore[return-value]

    def _await_dealt_with(self, seconds: float) -> None:
        try:
            self._dealt_with.get(timeout=seconds)
        except Empty:
            return
        self._dealt_with.put(None)  # for whoever waits next

    # --- on threads of their own --------------------------------------------------------------------------------

    def _work(self) -> None:
        with self._client:
            while (order := self._orders.get()) is not None:
                order()

    def _pause(self, seconds: float) -> None:
        try:
            self._wake_up.get(timeout=seconds)
        except Empty:
            return
        self._wake_up.put(None)
        self.check_before_sending()

    def _ask(self) -> None:
        if self._questions.get():
            try:
                self._states.put(fetch_task_state(self._ti))
            except Exception as error:  # noqa: BLE001 (whatever keeps Airflow from telling)
                self._states.put(TaskState.UNKNOWN)
                log.warning("Airflow does not tell the state of the task: %s", type(error).__name__)

    def _await_kill(self) -> None:
        with self._hasty_client as client:
            if not self._kills.get():
                return
            lines: list[tuple[int, str]] = []
            try:
                lines = self._end_or_keep(client)
            finally:
                # The main thread waits in the signal handler, perhaps on top of a log call: request before log.
                self._dealt_with.put(None)
                _tell(lines)

    def _end_or_keep(self, client: KernelClient) -> list[tuple[int, str]]:
        state = self._state()
        # An answer on its way comes first: it is the better one, and must not be overwritten.
        self._await_orders(IN_FLIGHT_SECONDS)
        if self._is_settled:
            return []
        reason = reason_to_end(state, retries_left=self._retries_left)
        if reason is None:
            return [(logging.INFO, f"Invocation {self.invocation_id} is left to the next try (task: {state})")]
        try:
            cancellation = client.run(flows.cancel_invocation(self.invocation_id, reason, urgent=True))
        except KernelError as error:
            return [(logging.ERROR, f"Invocation {self.invocation_id} could not be ended: {error}")]
        self._is_settled = True
        return list(cancellation.report())

    def _state(self) -> TaskState:
        try:
            return self._states.get(timeout=IN_FLIGHT_SECONDS)
        except Empty:
            return TaskState.UNKNOWN

    def _await_orders(self, seconds: float) -> None:
        if self._is_closed:
            return
        done: SimpleQueue[None] = SimpleQueue()
        self._orders.put(lambda: done.put(None))
        try:
            done.get(timeout=seconds)
        except Empty:
            return


def _tell(lines: list[tuple[int, str]]) -> None:
    for level, text in lines:
        log.log(level, text)
