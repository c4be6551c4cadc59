"""
What Airflow says of a task instance: whether it still runs, and what it waits for.

The triggerer calls ``on_kill`` also for a trigger that has only moved to another triggerer, and a worker is not
told at all when its task is marked or cleared just before it defers. So both must ask.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from airflow_provider_kernel._compat import AirflowFailException, AirflowSensorTimeout

log = logging.getLogger(__name__)


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
    # In a thread: the calls wait for the triggerer's supervisor, and the event loop must not.
    return await asyncio.to_thread(_is_deferred_on, ti, invocation_id)


def read_task_state(ti: Any) -> str | None:
    """
    Ask Airflow for the state of a task instance, and wait for the answer.

    :param ti: the task instance.
    :return: its state; ``None`` when there is no such task instance any more.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    mapped = ti.map_index is not None and ti.map_index >= 0
    by_run = RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id,
        task_ids=[ti.task_id],
        run_ids=[ti.run_id],
        map_index=ti.map_index if mapped else None,
    )
    states = by_run.get(ti.run_id, {})
    # The states of mapped task instances are keyed by task id and map index.
    state = states.get(f"{ti.task_id}_{ti.map_index}") if mapped else states.get(ti.task_id)
    return None if state is None else str(getattr(state, "value", state))


def _is_deferred_on(ti: Any, invocation_id: str) -> bool:
    from airflow.sdk.execution_time.xcom import XCom

    if read_task_state(ti) != "deferred":
        return False
    latest = XCom.get_one(
        key="invocation_id", dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, map_index=ti.map_index
    )
    return bool(latest == invocation_id)
