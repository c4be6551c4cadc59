"""What called a callback: Airflow says it nowhere in one word, and passes another context from each place."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_kernel.lifecycle.resource import EndReason
from airflow_provider_kernel.lifecycle.task_instances import has_retries_left, is_mapped

if TYPE_CHECKING:
    from airflow.sdk import Context


class Occasion(Enum):
    """What called a callback."""

    RUN_SUCCESS = "on_success_callback of the DAG"
    RUN_FAILURE = "on_failure_callback of the DAG"
    TASK_SUCCESS = "on_success_callback of a task"
    TASK_FAILURE = "on_failure_callback of a task"
    TASK_SKIPPED = "on_skipped_callback of a task"
    TASK_RETRY = "on_retry_callback of a task"
    #: Also a call out of the task itself: Airflow's context is the same.
    TASK_EXECUTE = "on_execute_callback of a task"
    DEADLINE = "callback of a DeadlineAlert"

    @property
    def is_success(self) -> bool:
        return self in (Occasion.RUN_SUCCESS, Occasion.TASK_SUCCESS)

    @property
    def ends_task(self) -> bool:
        """Whether a task is over, and no try follows."""
        return self in (Occasion.TASK_SUCCESS, Occasion.TASK_FAILURE, Occasion.TASK_SKIPPED)


_OF_TASK_STATES = {
    "success": Occasion.TASK_SUCCESS,
    "failed": Occasion.TASK_FAILURE,
    "skipped": Occasion.TASK_SKIPPED,
    "up_for_retry": Occasion.TASK_RETRY,
}


def occasion_of(context: Context, callback: Any = None) -> Occasion:
    """
    Tell what called a callback.

    :param context: what Airflow passes to it.
    :param callback: the callback, as the DAG file has it; tells a failure from a retry of a killed task.
    """
    if is_of_deadline(context):
        return Occasion.DEADLINE
    ti: Any = context.get("ti") or context.get("task_instance")
    # Only the callbacks of a DAG get a reason. They get a task instance, too: that of the last task.
    if ti is None or "reason" in context:
        return _of_run(context)
    state = getattr(ti, "state", None)
    of_state = _OF_TASK_STATES.get(str(getattr(state, "value", state)))
    if of_state is not None:
        return of_state
    return Occasion.TASK_EXECUTE if is_in_task_process(ti) else _in_dag_processor(ti, callback)


def is_of_deadline(context: Context) -> bool:
    return "deadline" in context


def is_in_task_process(ti: Any) -> bool:
    """Return whether a task's own process calls its callback, rather than the DAG processor, which has no dates."""
    return getattr(ti, "start_date", None) is not None


def with_run_id(context: Context) -> Context:
    """Let templates find the run's id where they do elsewhere, in the context of a missed deadline."""
    run: Any = context.get("dag_run")
    if not is_of_deadline(context) or not isinstance(run, dict):
        return context
    run_id = run.get("run_id") or run.get("dag_run_id")
    return cast("Context", {"run_id": run_id, **context, "dag_run": {"run_id": run_id, **run}})


def describe_task_end(occasion: Occasion, context: Context) -> str:
    """Write, for people, what has become of a task that a callback is about."""
    if occasion is Occasion.TASK_SKIPPED:
        return str(EndReason.TASK_SKIPPED)
    if occasion is not Occasion.TASK_FAILURE:
        return str(EndReason.TASK_OVER)
    ti: Any = context.get("ti") or context.get("task_instance")
    name = f"{ti.task_id}[{ti.map_index}]" if is_mapped(ti) else ti.task_id
    error: Any = context.get("exception")
    detail = f": {type(error).__name__}: {error}" if isinstance(error, BaseException) else ""
    return f"The Airflow task {name} failed{detail}"


def _of_run(context: Context) -> Occasion:
    """Tell how the run ended. In doubt it has failed, which cannot be mistaken for a result."""
    state = str(getattr(getattr(context.get("dag_run"), "state", None), "value", ""))
    # The run's state decides; without it, the reason that Airflow passes to the callback.
    if state == "success" or (not state and context.get("reason") == "success"):
        return Occasion.RUN_SUCCESS
    return Occasion.RUN_FAILURE


def _in_dag_processor(ti: Any, callback: Any) -> Occasion:
    """Tell a failure from a retry where the task's process is gone: the DAG processor gets no state of the task."""
    # A task that was queued for too long fails with retries left.
    for_failures = _is_one_of(callback, ti.task.on_failure_callback)
    for_retries = _is_one_of(callback, ti.task.on_retry_callback)
    is_retry = for_retries if for_failures is not for_retries else has_retries_left(ti)
    return Occasion.TASK_RETRY if is_retry else Occasion.TASK_FAILURE


def _is_one_of(callback: Any, callbacks: Any) -> bool:
    several = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
    return any(each is callback for each in several)
