"""
What each callback of the package does, by what calls it.

The pages about callbacks show this table, and ``tests/unit/test_callback_outcomes.py`` plays each cell. Imports
nothing.
"""

from __future__ import annotations

from enum import Enum


class Outcome(Enum):
    """What a callback does; the value is what the documentation says."""

    SUCCEEDED = "ends the invocation as succeeded"
    FAILED = "ends the invocation as failed"
    NOTHING = "ends nothing"
    ENDS_OWN = "ends what this task has left running"
    ERROR = "ends nothing; the log has an error that says where it belongs"
    CLEANS_UP = "ends what the tasks that are over have left running"
    REFUSED = "cannot be given: Airflow refuses it when the DAG is parsed"


#: By the name of a callback: what is given.
CALLBACKS = {
    "notifier": "KernelInvocationNotifier",
    "complete": "complete_kernel_invocation",
    "fail": "fail_kernel_invocation",
    "net": "cancel_kernel_invocations",
    "task_net": "cancel_kernel_task_invocation",
}

#: The first version of Airflow that has a place; every version that the package supports has the others.
SINCE = {"deadline_sync": "3.2"}

#: By the name of a place: what calls, and the process it runs in.
PLACES = {
    "run_success": "``on_success_callback`` of a DAG (DAG processor)",
    "run_failure": "``on_failure_callback`` of a DAG (DAG processor)",
    "task_success": "``on_success_callback`` of a task, also from ``default_args`` (worker)",
    "task_failure": "``on_failure_callback`` of a task (worker)",
    "killed_failure": "``on_failure_callback`` of a task whose process was killed (DAG processor)",
    "task_skipped": "``on_skipped_callback`` of a task (worker)",
    "task_retry": "``on_retry_callback`` of a task (worker)",
    "killed_retry": "``on_retry_callback`` of a task whose process was killed (DAG processor)",
    "task_execute": "``on_execute_callback`` of a task (worker)",
    "deadline_async": "``DeadlineAlert`` with an ``AsyncCallback`` (triggerer)",
    "deadline_sync": "``DeadlineAlert`` with a ``SyncCallback`` (executor)",
}


def _row(*cells: Outcome) -> dict[str, Outcome]:
    return dict(zip(CALLBACKS, cells, strict=True))


O = Outcome  # noqa: E741 (the table is read as a table)
#: By place and callback.
OUTCOMES: dict[str, dict[str, Outcome]] = {
    "run_success": _row(O.SUCCEEDED, O.SUCCEEDED, O.FAILED, O.CLEANS_UP, O.ERROR),
    "run_failure": _row(O.FAILED, O.SUCCEEDED, O.FAILED, O.CLEANS_UP, O.ERROR),
    "task_success": _row(O.SUCCEEDED, O.SUCCEEDED, O.FAILED, O.CLEANS_UP, O.ENDS_OWN),
    "task_failure": _row(O.FAILED, O.SUCCEEDED, O.FAILED, O.CLEANS_UP, O.ENDS_OWN),
    "killed_failure": _row(O.FAILED, O.SUCCEEDED, O.FAILED, O.CLEANS_UP, O.ENDS_OWN),
    "task_skipped": _row(O.FAILED, O.SUCCEEDED, O.FAILED, O.CLEANS_UP, O.ENDS_OWN),
    "task_retry": _row(O.NOTHING, O.NOTHING, O.NOTHING, O.CLEANS_UP, O.NOTHING),
    "killed_retry": _row(O.NOTHING, O.NOTHING, O.NOTHING, O.CLEANS_UP, O.NOTHING),
    "task_execute": _row(O.ERROR, O.SUCCEEDED, O.FAILED, O.CLEANS_UP, O.NOTHING),
    "deadline_async": _row(O.FAILED, O.REFUSED, O.REFUSED, O.REFUSED, O.REFUSED),
    "deadline_sync": _row(O.FAILED, O.SUCCEEDED, O.FAILED, O.ERROR, O.ERROR),
}
