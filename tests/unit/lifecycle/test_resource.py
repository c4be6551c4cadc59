"""The words and rules that operators, triggers and callbacks share."""

import json

import pytest

from airflow_provider_kernel.lifecycle.resource import EndReason, Ownership


def test_end_reason_is_the_text_that_users_read():
    assert str(EndReason.TASK_KILLED) == f"{EndReason.TASK_KILLED}" == "The Airflow task was killed"
    assert json.dumps({"error": EndReason.TASK_KILLED}) == '{"error": "The Airflow task was killed"}'
    assert EndReason.TASK_SKIPPED.because("holiday") == "The Airflow task was skipped: holiday"
    assert EndReason.TASK_SKIPPED.because("") == "The Airflow task was skipped"


@pytest.mark.parametrize(
    ("arguments", "ownership"),
    [
        ({}, Ownership.TASK),
        ({"cancel_on_kill": True, "wait_for_completion": True}, Ownership.TASK),
        ({"cancel_on_kill": False}, Ownership.NOBODY),
        ({"wait_for_completion": False}, Ownership.NOBODY),
    ],
    ids=str,
)
def test_ownership_follows_from_the_arguments_of_the_operator(arguments, ownership):
    assert Ownership.from_arguments(arguments) is ownership
