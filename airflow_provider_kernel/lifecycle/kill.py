"""The kill of a task process by Airflow: how much time is left, and whether to end what waits for the task."""

from __future__ import annotations

from airflow_provider_kernel.lifecycle.resource import EndReason
from airflow_provider_kernel.lifecycle.task_instances import TaskState

#: How long ``on_kill`` may take: Airflow kills the process 5 s after the SIGTERM.
KILL_SECONDS = 4.0
#: When the last attempt of an urgent end starts, so that it may be over before ``on_kill`` returns.
LAST_URGENT_ATTEMPT_SECONDS = 3.7
#: How long a killed task waits for the answer to a request that is already in flight.
IN_FLIGHT_SECONDS = 1.5

#: Another try is on its way, and takes over.
_NEXT_TRY_FOLLOWS = frozenset(
    {
        TaskState.RESTARTING,
        TaskState.NONE,
        TaskState.SCHEDULED,
        TaskState.QUEUED,
        TaskState.UP_FOR_RETRY,
        TaskState.UP_FOR_RESCHEDULE,
    }
)
_REASONS = {
    TaskState.FAILED: EndReason.TASK_FAILED,
    TaskState.UPSTREAM_FAILED: EndReason.TASK_FAILED,
    TaskState.SUCCESS: EndReason.TASK_SUCCEEDED,
    TaskState.SKIPPED: EndReason.TASK_SKIPPED,
    TaskState.REMOVED: EndReason.TASK_REMOVED,
    TaskState.GONE: EndReason.TASK_REMOVED,
}


def reason_to_end(state: TaskState, *, retries_left: bool) -> EndReason | None:
    """
    Return the reason to end what waits for a task that got a SIGTERM; ``None`` leaves it to the next try.

    In doubt it ends: a caller that gets a failure can act, a caller that waits for ever cannot.

    :param state: the state that Airflow's database has. A mark or a clear changes it before the SIGTERM; a worker
        that is shut down leaves it ``running``.
    """
    if state in _NEXT_TRY_FOLLOWS or (state is TaskState.RUNNING and retries_left):
        return None
    return _REASONS.get(state, EndReason.TASK_KILLED)
