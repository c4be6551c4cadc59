"""
A deferred task without a triggerer: ``dag.test()``, ``airflow dags test`` and ``airflow tasks test``.

Airflow then runs the trigger in the process of the task, on an event loop of the main thread. Ctrl-C cancels the
trigger. A SIGTERM only calls the ``on_kill`` of the operator, which has deferred by then and so passes it on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

#: What to call for an object that an inline trigger waits for, by its id.
_stops: dict[str, Callable[[], object]] = {}
#: The ids of the objects whose task got a signal: it may come before the trigger runs.
_signalled: set[str] = set()


def stop_inline_trigger(external_id: str) -> None:
    """Cancel the trigger that waits for an object, or will. For a signal handler; without effect on a worker."""
    _signalled.add(external_id)
    stop = _stops.get(external_id)
    if stop is not None:
        stop()


def stop_on_signal(external_id: str) -> Callable[[], None]:
    """Return what calls :func:`stop_inline_trigger` on a signal. What came for an earlier trigger is forgotten."""
    _signalled.discard(external_id)
    return partial(stop_inline_trigger, external_id)


@contextmanager
def stopped_by_signal(external_id: str) -> Iterator[None]:
    """Let :func:`stop_inline_trigger` cancel the current asyncio task during the block."""
    task = asyncio.current_task()
    if task is None or not has_no_triggerer():
        yield
        return
    loop = asyncio.get_running_loop()
    _stops[external_id] = lambda: loop.call_soon_threadsafe(task.cancel)
    try:
        if external_id in _signalled:
            raise asyncio.CancelledError
        yield
    finally:
        del _stops[external_id]
        _signalled.discard(external_id)


def has_no_triggerer() -> bool:
    """Return whether Airflow runs tasks and their triggers in this process."""
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.supervisor import InProcessSupervisorComms

    return isinstance(getattr(task_runner, "SUPERVISOR_COMMS", None), InProcessSupervisorComms)
