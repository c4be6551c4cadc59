"""What a kill means for the invocation that waits: a table, row by row."""

import pytest

from airflow_provider_kernel.operators.kill_verdict import UNKNOWN, why_end


@pytest.mark.parametrize("state", ["restarting", "scheduled", "queued", "up_for_retry", "up_for_reschedule"])
@pytest.mark.parametrize("retries_left", [True, False])
def test_another_try_is_on_its_way_and_answers(state, retries_left):
    assert why_end(state, retries_left=retries_left) is None


def test_a_stop_of_the_worker_leaves_it_to_the_next_try_if_there_is_one():
    assert why_end("running", retries_left=True) is None
    assert why_end("running", retries_left=False) == "The Airflow task was killed"


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ("failed", "marked as failed"),
        ("upstream_failed", "marked as failed"),
        ("success", "marked as success by hand"),
        ("skipped", "skipped"),
        ("removed", "does not exist any more"),
        (None, "does not exist any more"),
        (UNKNOWN, "killed"),
        ("a state of a later Airflow", "killed"),
    ],
)
@pytest.mark.parametrize("retries_left", [True, False])
def test_nobody_will_answer_any_more(state, word, retries_left):
    assert word in why_end(state, retries_left=retries_left)
