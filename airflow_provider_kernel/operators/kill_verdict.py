"""What becomes of an invocation that waits for a task when that task is killed."""

from __future__ import annotations

#: Airflow did not tell the state of the task in time.
UNKNOWN = "unknown"

#: States in which another try is on its way: that one will answer.
_ANOTHER_TRY = frozenset({"restarting", "scheduled", "queued", "up_for_retry", "up_for_reschedule"})
_REASONS = {
    "failed": "The Airflow task was marked as failed",
    "upstream_failed": "The Airflow task was marked as failed",
    "success": "The Airflow task was marked as success by hand, so that there is no output",
    "skipped": "The Airflow task was skipped",
    "removed": "The Airflow task does not exist any more",
    None: "The Airflow task does not exist any more",
}


def why_end(state: str | None, *, retries_left: bool) -> str | None:
    """
    Say why an invocation is to be ended because its task gets a SIGTERM.

    :param state: the state of the task instance in Airflow's database by now: whoever marks or clears a task
        changes it first, while a mere stop of the worker leaves it ``running``. ``None`` when there is none any
        more, :data:`UNKNOWN` when Airflow did not say.
    :param retries_left: whether Airflow tries the task again when it fails.
    :return: the reason; ``None`` to leave the invocation to the next try. In doubt it is ended: a caller that
        hears of a failure can act, one that waits for ever cannot.
    """
    if state in _ANOTHER_TRY or (state == "running" and retries_left):
        return None
    return _REASONS.get(state, "The Airflow task was killed")
