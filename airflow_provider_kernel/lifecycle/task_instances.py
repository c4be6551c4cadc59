"""
The state of task instances, as Airflow's API server gives it.

The triggerer calls ``on_kill`` also for a trigger that has only moved to another triggerer, and nothing tells a
worker that its task was marked or cleared just before it defers. So both fetch the state before they decide.
"""

from __future__ import annotations

import asyncio
import contextvars
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_kernel._compat import NOT_RETRIED
from airflow_provider_kernel.client.errors import KernelTaskKilledError
from airflow_provider_kernel.client.safe_logger import get_logger

if TYPE_CHECKING:
    from airflow.sdk import Context

log = get_logger(__name__)

T = TypeVar("T")
S = TypeVar("S")

_MAPPED = r"(.+)_(\d+)"

_is_preloaded = False


class TaskState(str, Enum):
    """The state of a task instance: Airflow's own, and three for the lack of one."""

    REMOVED = "removed"
    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    RESTARTING = "restarting"
    FAILED = "failed"
    UP_FOR_RETRY = "up_for_retry"
    UP_FOR_RESCHEDULE = "up_for_reschedule"
    UPSTREAM_FAILED = "upstream_failed"
    SKIPPED = "skipped"
    DEFERRED = "deferred"
    AWAITING_INPUT = "awaiting_input"
    #: It has no state: Airflow has reset it, and schedules it next.
    NONE = "none"
    #: There is no such task instance.
    GONE = "gone"
    #: Airflow did not answer, or answered with a state that this package does not know.
    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return self.value

    @classmethod
    def _missing_(cls, value: object) -> TaskState:
        return cls.UNKNOWN

    @property
    def is_over(self) -> bool:
        """Whether no further try follows, unless a user clears the task. Not known of ``UNKNOWN``."""
        return self in _OVER


_OVER = frozenset(
    {
        TaskState.SUCCESS,
        TaskState.FAILED,
        TaskState.SKIPPED,
        TaskState.UPSTREAM_FAILED,
        TaskState.REMOVED,
        TaskState.GONE,
    }
)


def is_mapped(ti: Any) -> bool:
    return ti.map_index is not None and ti.map_index >= 0


def has_retries_left(ti: Any) -> bool:
    """Return whether the number of tries allows for another one."""
    return bool(ti.max_tries and ti.try_number <= ti.max_tries)


def will_be_retried(ti: Any, error: BaseException, context: Any) -> bool:
    """Return whether Airflow tries a running task again after an error, by Airflow's own rules."""
    if isinstance(error, NOT_RETRIED) or not has_retries_left(ti):
        return False
    policy = getattr(ti.task, "retry_policy", None)  # Airflow 3.3
    if policy is None:
        return True
    try:
        decision = policy.evaluate(
            exception=error, try_number=ti.try_number, max_tries=ti.max_tries, context=context
        )
    except Exception:
        log.exception("The task's retry_policy failed; Airflow then goes by the number of tries")
        return True
    return str(getattr(decision.action, "value", decision.action)) != "fail"


def fetch_task_state(ti: Any) -> TaskState:
    """Fetch the state of a task instance. Blocks until Airflow answers."""
    map_index = ti.map_index if is_mapped(ti) else None
    states = _fetch_states(ti.dag_id, ti.run_id, task_ids=[ti.task_id], map_index=map_index)
    return TaskState(states.get(ti.task_id if map_index is None else f"{ti.task_id}_{map_index}", TaskState.GONE))


def check_still_running(ti: Any) -> None:
    """Raise when a task was marked or cleared: a worker that is about to defer gets no signal."""
    state = fetch_task_state(ti)
    if state != TaskState.RUNNING:
        raise KernelTaskKilledError(f"The task is no longer running; Airflow says that it is {state}")


def fetch_task_states(dag_id: str, run_id: str, *, task_ids: list[str] | None = None) -> dict[str, str]:
    """
    Fetch the states of the task instances of a DAG run. Blocks until Airflow answers.

    :return: the states that there are, by task id; of mapped tasks by ``<task id>_<map index>``.
    """
    states = _fetch_states(dag_id, run_id, task_ids=task_ids)
    return {name: state for name, state in states.items() if state != TaskState.NONE}


def _fetch_states(
    dag_id: str, run_id: str, *, task_ids: list[str] | None, map_index: int | None = None
) -> dict[str, str]:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    by_run = RuntimeTaskInstance.get_task_states(
        dag_id=dag_id, task_ids=task_ids, run_ids=[run_id], map_index=map_index
    )
    states = by_run.get(run_id, {})
    return {
        name: TaskState.NONE.value if state is None else str(getattr(state, "value", state))
        for name, state in states.items()
    }


def group_by_task(states: Mapping[str, S]) -> Iterator[tuple[str, dict[int, S]]]:
    """
    Group the states of a run by what may be its tasks, and those by map index.

    Airflow's API names an instance of a mapped task ``<task id>_<map index>``, which may as well be a task's id. So
    such a name counts as both, and mapped tasks come first.
    """
    mapped: dict[str, dict[int, S]] = {}
    for name, state in states.items():
        if (match := re.fullmatch(_MAPPED, name)) is not None and match.group(1) not in states:
            mapped.setdefault(match.group(1), {})[int(match.group(2))] = state
    yield from mapped.items()
    for name, state in states.items():
        yield name, {-1: state}


def preload_state_api(ti: Any) -> None:
    """
    Fetch a state once in a process, without waiting for the answer.

    The first call makes a triggerer load the whole of Airflow's API, which takes many seconds. Done in advance, it
    does not delay the end of what a killed task owns.
    """
    global _is_preloaded
    if not _is_preloaded:
        _is_preloaded = True
        _call_on_own_thread(lambda: fetch_task_state(ti))


async def call_from_loop(function: Callable[[], T]) -> T:
    """Call Airflow from an event loop, without blocking it."""
    return await asyncio.wrap_future(_call_on_own_thread(function))


def run_id_of(context: Context) -> str:
    """Return the DAG run that a callback is about: Airflow passes a more or less complete context to it."""
    run_id: Any = context.get("run_id")
    return str(run_id or context["dag_run"].run_id)


def _call_on_own_thread(function: Callable[[], T]) -> Future[T]:
    """
    Call Airflow on a daemon thread of its own: the call waits for the triggerer's supervisor, perhaps for ever.

    A thread of the loop's executor would be lost to it, and would keep the triggerer from ending.
    """
    answer: Future[T] = Future()
    answer.set_running_or_notify_cancel()  # the caller may be cancelled, the call cannot

    def work() -> None:
        try:
            answer.set_result(function())
        except Exception as error:  # noqa: BLE001 (the caller gets it)
            answer.set_exception(error)

    # Airflow keeps what its calls need in context variables.
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name="kernel-task-state", daemon=True).start()
    return answer
