"""When Kernel ends an invocation by itself, and when its task stops waiting."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from airflow_provider_kernel.client.resources.invocations.defaults import (
    DEFAULT_ASYNC_TIMEOUT_SECONDS,
    MAX_ASYNC_TIMEOUT_SECONDS,
    MIN_ASYNC_TIMEOUT_SECONDS,
)

#: How much longer than Kernel's own limit a task waits: for the queue, and for Kernel to act on its limit.
_DEADLINE_GRACE_SECONDS = 300


def kernel_time_limit(async_timeout_seconds: int | None, execution_timeout: timedelta | None) -> int | None:
    """
    Return the limit to ask Kernel for, in seconds.

    :param async_timeout_seconds: what the user asked for, if anything.
    :param execution_timeout: the task's own limit, if any: Kernel's is a minute longer, within Kernel's range.
    """
    if async_timeout_seconds is not None or execution_timeout is None:
        return async_timeout_seconds
    seconds = int(execution_timeout.total_seconds()) + 60
    return max(MIN_ASYNC_TIMEOUT_SECONDS, min(seconds, MAX_ASYNC_TIMEOUT_SECONDS))


def deadline_of_wait(
    time_limit: int | None, *, execution_timeout: timedelta | None = None, started: datetime | None = None
) -> float:
    """
    Return when to stop waiting, in seconds since the epoch: it must hold in every process.

    :param time_limit: Kernel's limit, in seconds; ``None`` for its default.
    :param execution_timeout: the task's limit, if Airflow itself does not enforce it.
    :param started: when the task started, if that is known.
    """
    deadline = time.time() + (time_limit or DEFAULT_ASYNC_TIMEOUT_SECONDS) + _DEADLINE_GRACE_SECONDS
    if execution_timeout is not None and started is not None:
        deadline = min(deadline, (started + execution_timeout).timestamp())
    return deadline
