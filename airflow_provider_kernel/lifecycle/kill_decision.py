"""Whether an invocation that waits for a task ends when that task is killed."""

from __future__ import annotations

from airflow_provider_kernel.lifecycle.task_instances import TaskState

#: Another try is on its way, and answers the invocation.
_NEXT_TRY_FOLLOWS = frozenset(
    {
        TaskState.RESTARTING,
        TaskState.SCHEDULED,
        TaskState.QUEUED,
        TaskState.UP_FOR_RETRY,
        TaskState.UP_FOR_RESCHEDULE,
    }
)
_REASONS = {
    TaskState.FAILED: "The Airflow task was marked as failed",
    TaskState.UPSTREAM_FAILED: "The Airflow task was marked as failed",
    TaskState.SUCCESS: "The Airflow task was marked as success by hand, so that there is no output",
    TaskState.SKIPPED: "The Airflow task was skipped",
    TaskState.REMOVED: "The Airflow task does not exist any more",
    TaskState.GONE: "The Airflow task does not exist any more",
}


def reason_to_end(state: TaskState, *, retries_left: bool) -> str | None:
    """
    Return the reason to end an invocation whose task got a SIGTERM; ``None`` leaves it to the next try.

    In doubt it ends: a caller that gets a failure can act, a caller that waits for ever cannot.

    :param state: the state that Airflow's database has. A mark or a clear changes it before the SIGTERM; a worker
        that is shut down leaves it ``running``.
    :param retries_left: whether Airflow tries the task again when it fails.
    """
    if state in _NEXT_TRY_FOLLOWS or (state is TaskState.RUNNING and retries_left):
        return None
    return _REASONS.get(state, "The Airflow task was killed")
