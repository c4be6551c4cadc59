"""
Which limits a run has, and which one ends a wait in the triggerer.

The latter is written down when the task defers: the process that goes on may find other arguments in the DAG.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta
from typing import NamedTuple

from airflow_provider_kernel.client.resources.invocations.time_limits import (
    DEFAULT_ASYNC_TIMEOUT_SECONDS,
    MAX_ASYNC_TIMEOUT_SECONDS,
    MIN_ASYNC_TIMEOUT_SECONDS,
)

EXECUTION_TIMEOUT = "execution_timeout"
#: How much longer than Kernel's own limit a task waits: for the queue, and for Kernel to act on its limit.
_GRACE_SECONDS = 300

#: How much longer than a task's ``execution_timeout`` Kernel lets its invocation run.
_MARGIN_SECONDS = 60


class Limit(NamedTuple):
    """
    A limit of a wait.

    :param name: the argument that it comes from.
    :param ends_at: when it is over, in seconds since the epoch: it must hold in every process.
    """

    name: str
    ends_at: float


def first_limit(other: Limit, started: datetime, execution_timeout: timedelta | None) -> Limit:
    """
    Return the limit that ends a deferral, over which Airflow enforces no ``execution_timeout``.

    :param other: the limit of the wait itself. Both at once count as the ``execution_timeout``, whose alarm
        interrupts a task on a worker before that looks at its own limit.
    :param started: when the task started.
    """
    if not execution_timeout:  # Airflow takes 0 as none
        return other
    limit = Limit(EXECUTION_TIMEOUT, (started + execution_timeout).timestamp())
    return limit if limit.ends_at <= other.ends_at else other


def kernel_seconds(async_timeout_seconds: int | None, execution_timeout: timedelta | None) -> int | None:
    """Return the limit to give to Kernel; ``None`` for its default."""
    if async_timeout_seconds is not None or not execution_timeout:
        return async_timeout_seconds
    seconds = int(execution_timeout.total_seconds()) + _MARGIN_SECONDS
    return max(MIN_ASYNC_TIMEOUT_SECONDS, min(seconds, MAX_ASYNC_TIMEOUT_SECONDS))


def backstop(async_timeout_seconds: int | None, execution_timeout: timedelta | None) -> Limit:
    """Return when a task that waits from now on for an invocation of its own stops to believe in Kernel's limit."""
    seconds = kernel_seconds(async_timeout_seconds, execution_timeout) or DEFAULT_ASYNC_TIMEOUT_SECONDS
    return Limit("async_timeout_seconds", time.time() + seconds + _GRACE_SECONDS)


def limits_of(
    async_timeout_seconds: int | None, execution_timeout: timedelta | None, *, waits: bool
) -> tuple[int, str]:
    """
    Say what limits a run, and where each limit comes from.

    :param waits: whether the task waits for its invocation.
    :return: a level and a line for the log: a warning if the task may wait for longer than Kernel lets it run.
    """
    seconds = kernel_seconds(async_timeout_seconds, execution_timeout) or DEFAULT_ASYNC_TIMEOUT_SECONDS
    own = execution_timeout.total_seconds() if execution_timeout else None
    if async_timeout_seconds is not None:
        source = "async_timeout_seconds"
    elif own is None:
        source = "Kernel's default"
    elif own + _MARGIN_SECONDS >= seconds + 1:
        source = "Kernel's longest limit"
    else:
        source = f"{EXECUTION_TIMEOUT} and a minute"
    line = f"Kernel ends the invocation after {seconds} s ({source})"
    if not waits or own is None:
        return logging.INFO, line
    if own > seconds:
        return logging.WARNING, f"{line}, although the task would wait for {own:g} s ({EXECUTION_TIMEOUT})"
    return logging.INFO, f"{line}; the task waits for {own:g} s ({EXECUTION_TIMEOUT})"
