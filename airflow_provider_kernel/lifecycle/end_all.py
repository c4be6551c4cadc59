"""
The ends of many objects, all at once: during an outage, the time of one would else be the time of all.

The threads are daemons, and the caller does not wait for one that hangs: it must still log who is next in line.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from airflow_provider_kernel.client.client import KernelClient
from airflow_provider_kernel.client.safe_logger import get_logger
from airflow_provider_kernel.lifecycle.ending import end_within
from airflow_provider_kernel.lifecycle.ledger import StartRecord
from airflow_provider_kernel.lifecycle.resource import EndableResource, EndReport, end_failed

log = get_logger(__name__)

#: The timeout of one request, in seconds. An end takes up to three of them.
REQUEST_SECONDS = 3.0
#: How long an attempt may take that begins just before the time is over.
LAST_ATTEMPT_SECONDS = 3 * REQUEST_SECONDS

#: Each of them waits for a server most of the time. A connection has its own, so that none holds up the others.
_MAX_THREADS = 64


@dataclass(frozen=True)
class Obligation:
    """
    One object to end.

    :param client: has the settings of :func:`~airflow_provider_kernel.lifecycle.ending.for_ending`.
    """

    client: KernelClient
    resource: EndableResource[Any]
    external_id: str
    reason: str


def end_all(obligations: Sequence[Obligation], *, seconds: float, next_in_line: str) -> list[EndReport]:
    """
    End objects that no process owns any more, and log how it went. Blocks until all are done or the time is over.

    :param seconds: when the last attempts start. While Kernel hangs, objects that no thread is free for get none.
    :param next_in_line: who ends what could not be ended, for the log.
    :return: the reports, in the order of the obligations. A failure is in its report.
    """
    deadline = time.monotonic() + seconds

    def end(obligation: Obligation) -> EndReport:
        left = max(0.0, deadline - time.monotonic())
        record = StartRecord.naming(obligation.external_id)
        flow = end_within(left, obligation.resource, record, obligation.reason, next_in_line=next_in_line)
        try:
            return obligation.client.run(flow)
        except Exception as error:  # noqa: BLE001 (one object must not keep the others from their end)
            kind = obligation.resource.kind
            return end_failed(kind, obligation.external_id, error, next_in_line=next_in_line)

    outcomes = _run_at_once(end, obligations, timeout=seconds + LAST_ATTEMPT_SECONDS)
    reports = []
    for obligation, outcome in zip(obligations, outcomes, strict=True):
        if outcome is None:
            late = TimeoutError(f"no answer within {seconds + LAST_ATTEMPT_SECONDS:.0f} s")
            kind = obligation.resource.kind
            outcome = end_failed(kind, obligation.external_id, late, next_in_line=next_in_line)
        outcome.log(log)
        reports.append(outcome)
    return reports


def _run_at_once(
    end: Callable[[Obligation], EndReport], obligations: Sequence[Obligation], *, timeout: float
) -> list[EndReport | None]:
    """Return what each call returned, ``None`` where it has not returned in time."""
    deadline = time.monotonic() + timeout
    ended: SimpleQueue[tuple[int, EndReport]] = SimpleQueue()
    by_client: dict[int, SimpleQueue[tuple[int, Obligation]]] = defaultdict(SimpleQueue)
    for index, obligation in enumerate(obligations):
        by_client[id(obligation.client)].put((index, obligation))

    def work(waiting: SimpleQueue[tuple[int, Obligation]]) -> None:
        while time.monotonic() < deadline:
            try:
                index, obligation = waiting.get_nowait()
            except Empty:
                return
            ended.put((index, end(obligation)))

    for waiting in by_client.values():
        for _ in range(min(waiting.qsize(), max(1, _MAX_THREADS // len(by_client)))):
            # Airflow keeps what its logging needs in context variables.
            context = contextvars.copy_context()
            threading.Thread(target=context.run, args=(work, waiting), name="kernel-end", daemon=True).start()
    outcomes: list[EndReport | None] = [None] * len(obligations)
    for _ in obligations:
        try:
            index, report = ended.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            break
        outcomes[index] = report
    return outcomes
