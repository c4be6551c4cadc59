"""
The end of an object, as an obligation that is bounded by time.

An end is done when Kernel has taken it, when the object is already over, and when there is no such object (404).
Everything else is tried again until the time is over, whatever the retry settings of the connection say: a key that
is refused now may be renewed in a minute, and an object that nobody ends costs money until its own limit.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.errors import KernelError
from airflow_provider_kernel.client.flow import Flow, repeat
from airflow_provider_kernel.client.retry import RetryPolicy, pause_after
from airflow_provider_kernel.client.safe_logger import get_logger
from airflow_provider_kernel.lifecycle.ledger import StartRecord
from airflow_provider_kernel.lifecycle.resource import EndableResource, EndReport, end_failed

log = get_logger(__name__)

#: How long a worker tries to end an object, when nobody is about to kill its process.
WORKER_END_SECONDS = 120.0
#: How long a trigger tries: nothing else can reach the object of a task that a user marked or cleared.
TRIGGER_END_SECONDS = 600.0

#: The timeouts of an end. A request that hangs must leave time for another one.
_TIMEOUT_SECONDS = 5.0
_URGENT_TIMEOUT_SECONDS = 1.2
#: The longest pause between two attempts, whatever Kernel asks for: an outage may be over at any moment.
_MAX_PAUSE_SECONDS = 5.0
_MAX_URGENT_PAUSE_SECONDS = 0.3


def for_ending(
    config: KernelConfig, *, urgent: bool = False, timeout_seconds: float = _TIMEOUT_SECONDS
) -> KernelConfig:
    """
    Return the settings of a client for ends: short timeouts, and one attempt, as :func:`end_within` repeats.

    :param urgent: whether the process is about to be killed.
    :param timeout_seconds: the longest timeout, unless it is urgent.
    """
    timeout = _URGENT_TIMEOUT_SECONDS if urgent else timeout_seconds
    return replace(
        config,
        connect_timeout=min(config.connect_timeout, timeout),
        read_timeout=min(config.read_timeout, timeout),
        retry=RetryPolicy(max_attempts=1),
    )


def end_within(
    seconds: float,
    resource: EndableResource[Any],
    record: StartRecord,
    reason: str,
    *,
    urgent: bool = False,
    next_in_line: str = "",
    logger: Any | None = log,
    check: Callable[[], None] | None = None,
) -> Flow[EndReport]:
    """
    End an object, and try again until the time is over. For a client with the settings of :func:`for_ending`.

    A failure is reported instead of raised: it must not hide why the object is ended.

    :param seconds: when the last attempt starts, after the first one.
    :param urgent: whether the process is about to be killed; then pauses are short.
    :param next_in_line: who ends the object if this fails, for the log line.
    :param logger: gets a line when the first attempt has failed; ``None`` for none, as in a signal handler.
    :param check: called before each attempt but the first; what it raises, other than a KernelError, is raised.
    """
    began = time.monotonic()
    attempts = count(1)

    def attempt() -> Flow[EndReport]:
        if next(attempts) > 1 and check is not None:
            check()
        return (yield from _attempt(resource, record, reason, urgent=urgent))

    retrying = Retrying(
        retry=retry_if_exception_type(KernelError),
        stop=stop_after_delay(seconds),
        wait=_wait(_MAX_URGENT_PAUSE_SECONDS if urgent else _MAX_PAUSE_SECONDS, seconds),
        before_sleep=_log_first_failure(logger, resource.kind, record.external_id, seconds),
        reraise=True,
    )
    try:
        report = yield from repeat(attempt, retrying)
    except KernelError as error:
        return end_failed(resource.kind, record.external_id, error, next_in_line=next_in_line)
    took = f" (in {time.monotonic() - began:.1f} s)"
    return report._replace(lines=tuple((level, text + took) for level, text in report.lines))


def _attempt(resource: EndableResource[Any], record: StartRecord, reason: str, *, urgent: bool) -> Flow[EndReport]:
    try:
        return (yield from resource.end(record, reason, urgent=urgent))
    except KernelError as error:
        if not error.says_absent:
            raise
        name = f"{resource.kind.capitalize()} {record.external_id}"
        return EndReport(((logging.INFO, f"{name} does not exist any more"),))


def _wait(most: float, seconds: float) -> Callable[[RetryCallState], float]:
    drawn = wait_random_exponential(multiplier=most / 10, max=most)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        left = seconds - (state.seconds_since_start or 0.0)
        return min(pause_after(error, drawn(state), at_most=most), max(0.0, left))

    return wait


def _log_first_failure(
    logger: Any | None, kind: str, external_id: str | None, seconds: float
) -> Callable[[RetryCallState], None]:
    def log_first_failure(state: RetryCallState) -> None:
        if logger is not None and state.attempt_number == 1:
            error = state.outcome.exception() if state.outcome else None
            logger.warning(
                "%s %s could not be ended yet: %s; trying again for up to %.0f s",
                kind.capitalize(),
                external_id or "(its id is not known yet)",
                error,
                seconds,
            )

    return log_first_failure
