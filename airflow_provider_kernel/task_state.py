"""
What Airflow says of a task instance: whether it still runs, and what it waits for.

The triggerer calls ``on_kill`` also for a trigger that has only moved to another triggerer, and a worker is not
told at all when its task is marked or cleared just before it defers. So both must ask.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_kernel._compat import AirflowFailException, AirflowSensorTimeout

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

T = TypeVar("T")

_was_asked = False


def ask_in_advance(ti: Any) -> None:
    """
    Ask Airflow once in a process, for nothing but to have it ready.

    The first question makes a triggerer load the whole of Airflow's API, which takes many seconds; one that is
    asked when somebody has acted on a task must not wait for that.

    :param ti: any task instance.
    """
    global _was_asked
    if not _was_asked:
        _was_asked = True
        _start(lambda: read_task_state(ti), lambda answer, error: None)


def will_be_tried_again(ti: Any, error: BaseException, context: Any) -> bool:
    """
    Say whether Airflow tries a task again after an error, by Airflow's own rules.

    :param ti: the task instance, which runs now.
    :param error: what it fails with.
    :param context: the task's context.
    """
    if isinstance(error, (AirflowFailException, AirflowSensorTimeout)) or not has_retries_left(ti):
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


def has_retries_left(ti: Any) -> bool:
    """
    Say whether the number of tries allows for another one.

    :param ti: the task instance, which runs now.
    """
    return bool(ti.max_tries and ti.try_number <= ti.max_tries)


async def is_still_deferred_on(ti: Any, invocation_id: str) -> bool:
    """
    Ask Airflow whether a task is deferred, and on this invocation rather than on a later try's.

    :param ti: the task instance of the trigger.
    :param invocation_id: the invocation that the trigger waits for.
    :return: whether it is.
    """
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[bool] = loop.create_future()

    def settle(answer: bool | None, error: Exception | None) -> None:
        if answered.done():  # nobody waits any more
            return
        if error is not None:
            answered.set_exception(error)
        else:
            answered.set_result(bool(answer))

    def tell(answer: bool | None, error: Exception | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, answer, error)

    # The calls wait for the triggerer's supervisor, and the event loop must not.
    _start(lambda: _is_deferred_on(ti, invocation_id), tell)
    return await answered


def read_task_state(ti: Any) -> str | None:
    """
    Ask Airflow for the state of a task instance, and wait for the answer.

    :param ti: the task instance.
    :return: its state; ``None`` when there is no such task instance any more.
    """
    mapped = ti.map_index is not None and ti.map_index >= 0
    states = read_task_states(
        ti.dag_id, ti.run_id, task_ids=[ti.task_id], map_index=ti.map_index if mapped else None
    )
    return states.get(f"{ti.task_id}_{ti.map_index}" if mapped else ti.task_id)


def read_task_states(
    dag_id: str, run_id: str, *, task_ids: list[str] | None = None, map_index: int | None = None
) -> dict[str, str]:
    """
    Ask Airflow for the states of the task instances of a DAG run, and wait for the answer.

    :param dag_id: the DAG.
    :param run_id: its run.
    :param task_ids: only these tasks.
    :param map_index: only this one of a mapped task.
    :return: the states by task id, and of mapped ones by ``<task id>_<map index>``; without those that have none.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    by_run = RuntimeTaskInstance.get_task_states(
        dag_id=dag_id, task_ids=task_ids, run_ids=[run_id], map_index=map_index
    )
    states = by_run.get(run_id, {})
    return {name: str(getattr(state, "value", state)) for name, state in states.items() if state is not None}


def run_id_of(context: Context) -> str:
    """
    Tell which DAG run a callback is about: Airflow gives more or less of a context to it.

    :param context: what the callback got.
    """
    run_id: Any = context.get("run_id")
    return str(run_id or context["dag_run"].run_id)


def _is_deferred_on(ti: Any, invocation_id: str) -> bool:
    from airflow.sdk.execution_time.xcom import XCom

    if read_task_state(ti) != "deferred":
        return False
    latest = XCom.get_one(
        key="invocation_id", dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, map_index=ti.map_index
    )
    return bool(latest == invocation_id)


def _start(ask: Callable[[], T], tell: Callable[[T | None, Exception | None], None]) -> None:
    """
    Ask on a thread of its own, that nobody waits for: an answer may never come.

    The loop's own threads would be used up by that, and would keep a triggerer from ending.
    """

    def work() -> None:
        try:
            answer = ask()
        except Exception as error:  # noqa: BLE001 (it is the asker's)
            tell(None, error)
        else:
            tell(answer, None)

    # Airflow keeps what it needs for its calls in context variables.
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name="kernel-task-state", daemon=True).start()
