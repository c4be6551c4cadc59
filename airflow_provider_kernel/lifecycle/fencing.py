"""
Whether a task process still owns what it is about to end, or another try of its task has taken it up.

A process that was stopped for long, or whose supervisor was replaced, comes back after Airflow has started the next
try, and gets its SIGTERM then. Before it ends something, it asks Airflow for the state of the task and for the
ownership record. Both are read by names: the id of its task instance may be gone. Before a try has published an
ownership record, just that tells it from the next try: the ledger is read by the id.
"""

from __future__ import annotations

import contextvars
import logging
from typing import Any, NamedTuple

from airflow_provider_kernel.lifecycle.ledger import Ledger, StartRecord
from airflow_provider_kernel.lifecycle.ownership import OwnershipPublisher, OwnershipRecord, fetch_ownership
from airflow_provider_kernel.lifecycle.signal_safe import WorkerThread
from airflow_provider_kernel.lifecycle.task_instances import TaskState, fetch_task_state

#: How long to wait for Airflow's answer.
ASK_SECONDS = 1.5

_NEXT_TRY_DECIDES = frozenset({TaskState.UP_FOR_RETRY, TaskState.NONE, TaskState.SCHEDULED, TaskState.QUEUED})
_ACTIVE = frozenset({TaskState.RUNNING, TaskState.DEFERRED})


def may_end(
    state: TaskState,
    ownership: OwnershipRecord | None,
    record: StartRecord,
    try_number: int,
    *,
    is_replaced: bool,
) -> bool:
    """
    Decide whether a process may end an object. In doubt it may: a repeated run costs less than an orphan.

    :param state: of the task instance.
    :param ownership: the ownership record of the task instance; ``None`` if there is none.
    :param record: the object.
    :param try_number: the try that this process runs.
    :param is_replaced: what :func:`has_been_replaced` says where there is no ownership record.
    """
    if state in _NEXT_TRY_DECIDES:
        return False
    if state not in _ACTIVE:
        return True
    if ownership is None:
        return not is_replaced
    return ownership.try_number == try_number or not ownership.names(record)


def has_been_replaced(publisher: OwnershipPublisher, ledger: Ledger | None) -> bool:
    """
    Return whether the next try of an active task has begun, where there is no ownership record. Blocks.

    :param publisher: of this try. Airflow wipes what it has written when the next try begins.
    :param ledger: of this try, if it has one.
    """
    return publisher.has_published or (ledger is not None and ledger.has_lost_access())


class Answer(NamedTuple):
    """
    What Airflow answered.

    :param may_end: whether this process may end the object.
    :param state: the state of the task instance; ``UNKNOWN`` without an answer.
    :param lines: what to log, as pairs of level and text.
    """

    may_end: bool
    state: TaskState
    lines: tuple[tuple[int, str], ...] = ()


class Fence:
    """
    Ask whether the object of a task is still its own. To be made on the main thread of a task process.

    :param kind: the kind of object.
    :param publisher: writes the ownership record of this try.
    :param ledger: holds what this try has started, if it is not published at once.
    """

    def __init__(self, kind: str, ti: Any, publisher: OwnershipPublisher, ledger: Ledger | None = None) -> None:
        self._kind = kind
        self._ti = ti
        self._publisher = publisher
        self._ledger = ledger
        # Airflow keeps what its calls need in context variables.
        self._context = contextvars.copy_context()
        # Of its own: the interrupted main thread may hold the lock of Airflow's calls for ever.
        self._calls = WorkerThread("kernel-fence")

    def ask(self, record: StartRecord) -> Answer:
        """Ask about an object. Blocks for :data:`ASK_SECONDS` at most; may be called on any thread."""
        try:
            call = self._calls.submit(lambda: self._context.run(self._fetch))
            state, ownership, is_replaced = call.result(ASK_SECONDS)
        except Exception as error:  # noqa: BLE001 (whatever keeps Airflow from answering)
            why = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            line = f"Airflow did not say whether another try of the task has taken over: {why}"
            return Answer(True, TaskState.UNKNOWN, ((logging.WARNING, line),))
        if may_end(state, ownership, record, self._ti.try_number, is_replaced=is_replaced):
            return Answer(True, state)
        name = f"{self._kind} {record.external_id or '(its id is not known yet)'}"
        line = f"This process leaves {name} to another try of the task, which is {state}"
        return Answer(False, state, ((logging.INFO, line),))

    def close(self) -> None:
        """End the thread once it is idle. Waits for nothing."""
        self._calls.close()

    def _fetch(self) -> tuple[TaskState, OwnershipRecord | None, bool]:
        # The state first: if the next try begins in between, the record is gone, or that of the next try.
        state = fetch_task_state(self._ti)
        if state not in _ACTIVE:
            return state, None, False
        ownership = fetch_ownership(self._kind, self._ti)
        return state, ownership, ownership is None and has_been_replaced(self._publisher, self._ledger)
