"""Whether a kill ends the invocation that waits for the task: the table, row by row."""

import pytest

from airflow_provider_kernel.lifecycle.kill import reason_to_end
from airflow_provider_kernel.lifecycle.task_instances import TaskState

LEFT_TO_THE_NEXT_TRY = ["restarting", "none", "scheduled", "queued", "up_for_retry", "up_for_reschedule"]
ENDED = {
    "failed": "marked as failed",
    "upstream_failed": "marked as failed",
    "success": "marked as success by hand",
    "skipped": "skipped",
    "removed": "does not exist any more",
    "gone": "does not exist any more",
    "deferred": "killed",
    "awaiting_input": "killed",
    "unknown": "killed",
    "a state of a later Airflow": "killed",
}


@pytest.mark.parametrize("state", LEFT_TO_THE_NEXT_TRY)
@pytest.mark.parametrize("retries_left", [True, False])
def test_kill_leaves_the_invocation_to_a_try_that_follows(state, retries_left):
    assert reason_to_end(TaskState(state), retries_left=retries_left) is None


def test_kill_by_a_worker_shutdown_leaves_the_invocation_to_a_retry_if_there_is_one():
    assert reason_to_end(TaskState.RUNNING, retries_left=True) is None
    assert reason_to_end(TaskState.RUNNING, retries_left=False) == "The Airflow task was killed"


@pytest.mark.parametrize(("state", "words"), ENDED.items())
@pytest.mark.parametrize("retries_left", [True, False])
def test_kill_ends_the_invocation_when_no_try_follows(state, words, retries_left):
    assert words in reason_to_end(TaskState(state), retries_left=retries_left)


def test_kill_decision_table_has_a_row_for_every_task_state():
    assert {*LEFT_TO_THE_NEXT_TRY, *ENDED, "running"} >= {state.value for state in TaskState}
