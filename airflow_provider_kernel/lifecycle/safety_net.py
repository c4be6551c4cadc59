"""
The safety net: a DAG callback that ends what a DAG run still owns when it is over, and no task is left to do so.

What the tasks own is in XCom, in their ownership records; DAG callbacks cannot read the task state store. The net
serves every kind of object; see :mod:`airflow_provider_kernel.owned`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar

import psutil  # type: ignore[import-untyped]

from airflow_provider_kernel._compat import conf
from airflow_provider_kernel.client.client import KernelClient
from airflow_provider_kernel.client.errors import KernelError
from airflow_provider_kernel.client.flow import Flow
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle.end_all import REQUEST_SECONDS, Obligation, end_all
from airflow_provider_kernel.lifecycle.ending import for_ending
from airflow_provider_kernel.lifecycle.ledger import StartRecord
from airflow_provider_kernel.lifecycle.ownership import fetch_ownerships
from airflow_provider_kernel.lifecycle.resource import (
    EndableResource,
    EndReason,
    EndReport,
    ListedResource,
    Ownership,
    end_failed,
    published_ids,
    try_to_end,
)
from airflow_provider_kernel.lifecycle.task_instances import run_id_of

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

#: Airflow's default of ``[dag_processor] dag_file_processor_timeout``.
_DEFAULT_TIMEOUT_SECONDS = 50
#: What is left to the last attempt, to the log, and to the DAG's other callbacks.
_RESERVE_SECONDS = 10.0

_NEXT_IN_LINE = "the sweep, if a DAG runs it; else Kernel's own time limit"


def end_owned_by_run(context: Context, kinds: Mapping[str, ListedResource[Any]]) -> None:
    """
    End every active object that a task of a DAG run owns. For a DAG callback, which runs in the DAG processor.

    An object that cannot be found or ended is logged, and does not keep the others from their end.

    :param kinds: the kinds of objects, by name. An operator that owns one names it in its ``owned_kind``.
    """
    succeeded = context.get("reason") == "success"
    reason = EndReason.RUN_OVER if succeeded else EndReason.RUN_FAILED
    owned = _owned_by_run(context["dag"], run_id_of(context), kinds)
    if not owned:
        return
    with ExitStack() as clients:
        obligations: list[Obligation] = []
        for (kernel_conn_id, kind), external_ids in owned.items():
            resource = kinds[kind]
            try:
                config = for_ending(KernelHook(kernel_conn_id).config, timeout_seconds=REQUEST_SECONDS)
                client = clients.enter_context(KernelClient(config))
            except Exception as error:  # noqa: BLE001 (whatever keeps Airflow from giving the connection)
                for external_id in external_ids:
                    end_failed(kind, external_id, error, next_in_line=_NEXT_IN_LINE).log(log)
                continue
            if succeeded:
                # In a good run nothing is active: two requests instead of one for each object.
                external_ids = _still_active(client, resource, external_ids)
            obligations += [
                Obligation(client, _EndIfActive(resource), external_id, reason) for external_id in external_ids
            ]
        end_all(obligations, seconds=seconds_left(), next_in_line=_NEXT_IN_LINE)


def end_by_id(hook: KernelHook, resource: EndableResource[Any], external_id: str, reason: str) -> EndReport:
    """End an object that no process owns any more, and log how it went. A failure is in the report."""
    try:
        report = hook.get_conn().run(try_to_end(resource, StartRecord.naming(external_id), reason))
    except KernelError as error:
        report = end_failed(resource.kind, external_id, error)
    report.log(log)
    return report


class _EndIfActive:
    """Ends an object, without a log line if it is over: in most runs, that is all of them."""

    kind: ClassVar[str]

    def __init__(self, resource: EndableResource[Any]) -> None:
        self.kind = resource.kind  # type: ignore[misc]
        self._resource = resource
        self._was_active: set[str] = set()

    def get(self, external_id: str) -> Flow[Any]:
        return self._resource.get(external_id)

    def external_id(self, found: Any) -> str:
        return self._resource.external_id(found)

    def describe(self, found: Any) -> str:
        return self._resource.describe(found)

    def is_over(self, found: Any) -> bool:
        return self._resource.is_over(found)

    def end(self, record: StartRecord, reason: str, *, urgent: bool) -> Flow[EndReport]:
        external_id = record.external_id or ""
        # An end that failed half-way is repeated as a whole.
        if external_id not in self._was_active:
            found = yield from self._resource.get(external_id)
            if self._resource.is_over(found):
                return EndReport()
            self._was_active.add(external_id)
        return (yield from self._resource.end(record, reason, urgent=urgent))


def _owned_by_run(
    dag: Any, run_id: str, kinds: Mapping[str, ListedResource[Any]]
) -> dict[tuple[str, str], list[str]]:
    """Return the ids of what the tasks of a run own, by connection and kind."""
    owned: dict[tuple[str, str], list[str]] = {}
    for task in dag.tasks:
        kind = getattr(getattr(task, "operator_class", type(task)), "owned_kind", "")
        if kind not in kinds:
            continue
        for kernel_conn_id, external_id in _owned_by_task(kind, dag.dag_id, task, run_id):
            owned.setdefault((kernel_conn_id, kind), []).append(external_id)
    return owned


def _owned_by_task(kind: str, dag_id: str, task: Any, run_id: str) -> list[tuple[str, str]]:
    try:
        records = fetch_ownerships(kind, dag_id=dag_id, task_id=task.task_id, run_id=run_id)
        if not records:
            return list(_owned_by_arguments(kind, dag_id, task, run_id))
    except Exception as error:  # noqa: BLE001 (whatever keeps Airflow from answering)
        line = "What task %s owns cannot be read from XCom: %s. Next in line: %s"
        log.error(line, task.task_id, error, _NEXT_IN_LINE)  # noqa: TRY400
        return []
    return [
        (record.kernel_conn_id, record.external_id)
        for record in records
        if record.is_owned and record.external_id is not None
    ]


def _owned_by_arguments(kind: str, dag_id: str, task: Any, run_id: str) -> Iterator[tuple[str, str]]:
    # Of a mapped task there are the arguments only, without the defaults.
    arguments: Mapping[str, Any] = getattr(task, "partial_kwargs", None) or vars(task)
    if Ownership.from_arguments(arguments) is Ownership.NOBODY:
        return
    kernel_conn_id = str(arguments.get("kernel_conn_id", KernelHook.default_conn_name))
    for external_id in published_ids(kind, dag_id=dag_id, task_id=task.task_id, run_id=run_id):
        yield kernel_conn_id, external_id


def _still_active(client: KernelClient, resource: ListedResource[Any], external_ids: list[str]) -> list[str]:
    """Return which objects the list names as active. All of them if it cannot be fetched."""
    active: set[str] = set()
    try:
        for first_page in resource.list_active():
            active.update(resource.external_id(found) for found in client.pages(first_page))
    except KernelError as error:
        log.warning("The active %ss cannot be listed, so each is fetched: %s", resource.kind, error)
        return external_ids
    return [external_id for external_id in external_ids if external_id in active]


def seconds_left() -> float:
    """Return how long to try. Airflow kills the process that runs a DAG's callbacks when it is too old."""
    timeout: int = conf.getint("dag_processor", "dag_file_processor_timeout", fallback=_DEFAULT_TIMEOUT_SECONDS)
    age: float = max(0.0, time.time() - psutil.Process().create_time())
    if age > timeout:
        age = 0.0  # not such a process: `dag.test()` runs callbacks, too
    return max(0.0, timeout - age - _RESERVE_SECONDS)
