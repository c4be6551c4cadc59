"""
The safety net: a DAG callback that ends what a DAG run still owns when it is over, and no task is left to do so.

An addition to it is a task callback, for what one task owns. Airflow calls it when the task fails, which may be
long before the run is over, but not after every way in which a task can end.

What the tasks own is in XCom, in their ownership records; DAG callbacks cannot read the task state store. The net
serves every kind of object; see :mod:`airflow_provider_kernel.owned`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import psutil  # type: ignore[import-untyped]

from airflow_provider_kernel._compat import conf
from airflow_provider_kernel.client.client import KernelClient
from airflow_provider_kernel.client.errors import KernelError
from airflow_provider_kernel.client.flow import Flow
from airflow_provider_kernel.client.safe_logger import get_logger
from airflow_provider_kernel.client.timestamps import utc_now
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle.end_all import REQUEST_SECONDS, Obligation, end_all
from airflow_provider_kernel.lifecycle.ending import for_ending
from airflow_provider_kernel.lifecycle.fencing import may_end
from airflow_provider_kernel.lifecycle.ledger import StartRecord
from airflow_provider_kernel.lifecycle.next_in_line import AFTER_SAFETY_NET, AFTER_TASK_SAFETY_NET
from airflow_provider_kernel.lifecycle.occasion import Occasion, is_in_task_process, occasion_of
from airflow_provider_kernel.lifecycle.ownership import OwnershipRecord, fetch_ownership, fetch_ownerships
from airflow_provider_kernel.lifecycle.resource import (
    EndableResource,
    EndReason,
    EndReport,
    ListedResource,
    end_failed,
)
from airflow_provider_kernel.lifecycle.task_instances import (
    TaskState,
    fetch_task_state,
    fetch_task_states,
    group_by_task,
    run_id_of,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

log = get_logger(__name__)

#: Airflow's default of ``[dag_processor] dag_file_processor_timeout``.
_DEFAULT_TIMEOUT_SECONDS = 50
#: Airflow's default of ``[core] task_success_overtime``.
_DEFAULT_OVERTIME_SECONDS = 20.0
#: What is left to the last attempt, to the log, and to other callbacks.
_RESERVE_SECONDS = 10.0
#: Why it ends what is left, by what has called it; a callback of a task otherwise.
_REASONS = {Occasion.RUN_SUCCESS: EndReason.RUN_OVER, Occasion.RUN_FAILURE: EndReason.RUN_FAILED}


def end_owned_by_run(context: Context, kinds: Mapping[str, ListedResource[Any]]) -> None:
    """
    End every active object that a task of a DAG run owns. For a DAG callback, which runs in the DAG processor.

    An object that cannot be found or ended is logged, and does not keep the others from their end.

    :param kinds: the kinds of objects, by name. An operator that owns one names it in its ``owned_kind``.
    """
    succeeded = context.get("reason") == "success"
    occasion = occasion_of(context)
    reason = _REASONS.get(occasion, EndReason.TASK_OVER)
    ti = None if occasion in _REASONS else context.get("ti")
    dag, run_id = context["dag"], run_id_of(context)
    owned = _owned_by_run(dag, run_id, kinds)
    with ExitStack() as stack:
        clients = _Clients(stack, AFTER_SAFETY_NET)
        owned = [each for each in owned if clients.open_for(each)]
        if succeeded:
            owned = _still_active(clients, owned, kinds)
        if not owned:
            return
        goes_on = _tasks_that_go_on(dag.dag_id, run_id, {each.task_id for each in owned})
        obligations = [
            Obligation(clients[each.kernel_conn_id], _EndIfActive(kinds[each.kind]), each.external_id, reason)
            for each in owned
            if each.task_id not in goes_on
        ]
        end_all(obligations, seconds=seconds_left(ti), next_in_line=AFTER_SAFETY_NET)


def end_owned_by_task(context: Context, kinds: Mapping[str, ListedResource[Any]]) -> None:
    """
    End the active object that a task instance owns. For a callback of a task that is over.

    :param kinds: the kinds of objects, by name.
    """
    ti: Any = context["ti"]
    kind = _owned_kind(ti.task)
    owned = _owned_by_last_try(kind, ti) if kind in kinds else None
    if owned is None:
        return
    with ExitStack() as stack:
        clients = _Clients(stack, AFTER_TASK_SAFETY_NET)
        if clients.open_for(owned):
            client, resource = clients[owned.kernel_conn_id], _EndIfActive(kinds[kind])
            obligation = Obligation(client, resource, owned.external_id, EndReason.TASK_OVER)
            end_all([obligation], seconds=seconds_left(ti), next_in_line=AFTER_TASK_SAFETY_NET)


#: The states of a task that has ended what it owned, or has not run. A former task in another one is asked, too.
_OWNS_NOTHING = frozenset({TaskState.SUCCESS, TaskState.SKIPPED, TaskState.UPSTREAM_FAILED})


class _Owned(NamedTuple):
    """What a task of the run owns."""

    kind: str
    external_id: str
    kernel_conn_id: str
    task_id: str


class _Clients:
    """
    A client for each connection, for ends.

    :param next_in_line: who ends what this callback cannot end, for the log.
    """

    def __init__(self, stack: ExitStack, next_in_line: str) -> None:
        self._stack = stack
        self._next_in_line = next_in_line
        self._clients: dict[str, KernelClient] = {}
        self._errors: dict[str, Exception] = {}

    def open_for(self, owned: _Owned) -> bool:
        """Return whether there is a client for an object; if not, log that it cannot be ended."""
        kernel_conn_id = owned.kernel_conn_id
        if kernel_conn_id not in self._clients and kernel_conn_id not in self._errors:
            try:
                config = for_ending(KernelHook(kernel_conn_id).config, timeout_seconds=REQUEST_SECONDS)
                self._clients[kernel_conn_id] = self._stack.enter_context(KernelClient(config))
            except Exception as error:  # noqa: BLE001 (whatever keeps Airflow from giving the connection)
                self._errors[kernel_conn_id] = error
        if kernel_conn_id in self._errors:
            reason = self._errors[kernel_conn_id]
            end_failed(owned.kind, owned.external_id, reason, next_in_line=self._next_in_line).log(log)
        return kernel_conn_id in self._clients

    def __getitem__(self, kernel_conn_id: str) -> KernelClient:
        return self._clients[kernel_conn_id]


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


def _owned_kind(task: Any) -> str:
    """Return the kind of object that a task owns, mapped or not; empty for none."""
    return str(getattr(getattr(task, "operator_class", type(task)), "owned_kind", ""))


def _owned_by_run(dag: Any, run_id: str, kinds: Mapping[str, ListedResource[Any]]) -> list[_Owned]:
    owned: list[_Owned] = []
    owners: set[str] = set()
    for task in dag.tasks:
        kind = _owned_kind(task)
        if kind in kinds:
            owners.add(task.task_id)
            owned += _owned_by_task(kind, dag.dag_id, task.task_id, run_id)
    return owned + _owned_by_former_tasks(dag, run_id, kinds, owners)


def _owned_by_former_tasks(dag: Any, run_id: str, kinds: Collection[str], owners: Collection[str]) -> list[_Owned]:
    """Return what tasks own that the DAG has no more, or as no owners: it may have changed since they ran."""
    try:
        states = fetch_task_states(dag.dag_id, run_id)
    except Exception as error:  # noqa: BLE001 (whatever keeps Airflow from answering)
        log.warning("Which tasks run %s had cannot be fetched, so those of the DAG are asked: %s", run_id, error)
        return []
    owned: list[_Owned] = []
    instances: set[str] = set()
    for task_id, by_index in group_by_task(states):
        if task_id in instances:
            continue
        found: list[_Owned] = []
        if task_id not in owners and not _OWNS_NOTHING.issuperset(by_index.values()):
            for kind in kinds:
                found += _owned_by_task(kind, dag.dag_id, task_id, run_id)
        owned += found
        if -1 not in by_index and (found or task_id in dag.task_ids):
            instances.update(f"{task_id}_{map_index}" for map_index in by_index)
    return owned


def _owned_by_task(kind: str, dag_id: str, task_id: str, run_id: str) -> list[_Owned]:
    try:
        records = fetch_ownerships(kind, dag_id=dag_id, task_id=task_id, run_id=run_id)
    except Exception as error:  # noqa: BLE001 (whatever keeps Airflow from answering)
        _log_unread_record(task_id, error, AFTER_SAFETY_NET)
        return []
    return [owned for record in records if (owned := _owned(kind, task_id, record)) is not None]


def _owned_by_last_try(kind: str, ti: Any) -> _Owned | None:
    """Return what a task instance owns, unless another try has it, or will: a user may have cleared the task."""
    try:
        state = fetch_task_state(ti)
    except Exception as error:  # noqa: BLE001 (whatever keeps Airflow from answering)
        line = "Whether task %s goes on cannot be fetched, so its %s is ended: %s"
        log.warning(line, ti.task_id, kind, error)
        state = TaskState.UNKNOWN
    try:
        # After the state: if another try begins in between, the record is gone, or that of the other try.
        record = fetch_ownership(kind, ti)
    except Exception as error:  # noqa: BLE001 (whatever keeps Airflow from answering)
        _log_unread_record(ti.task_id, error, AFTER_TASK_SAFETY_NET)
        return None
    owned = None if record is None else _owned(kind, ti.task_id, record)
    if record is None or owned is None:
        return None
    # Airflow says "running" until the process that runs this callback has ended.
    if may_end(state, record, StartRecord.naming(owned.external_id), ti.try_number, is_replaced=True):
        return owned
    log.info("Task %s runs again, and ends what it owns itself", ti.task_id)
    return None


def _owned(kind: str, task_id: str, record: OwnershipRecord) -> _Owned | None:
    if not record.is_owned or record.external_id is None:
        return None
    return _Owned(kind, record.external_id, record.kernel_conn_id, task_id)


def _log_unread_record(task_id: str, error: Exception, next_in_line: str) -> None:
    log.error("What task %s owns cannot be read from XCom: %s. Next in line: %s", task_id, error, next_in_line)


def _still_active(
    clients: _Clients, owned: Sequence[_Owned], kinds: Mapping[str, ListedResource[Any]]
) -> list[_Owned]:
    """
    Return which objects Kernel's list names as active, or may be: a list that is not known as a whole says nothing.

    In a good run nothing is active. So the list costs less than a request for each object.
    """
    active: dict[tuple[str, str], set[str] | None] = {}
    for each in owned:
        where = (each.kernel_conn_id, each.kind)
        if where not in active:
            active[where] = _list_active(clients[each.kernel_conn_id], kinds[each.kind])
    found = ((each, active[each.kernel_conn_id, each.kind]) for each in owned)
    return [each for each, ids in found if ids is None or each.external_id in ids]


def _list_active(client: KernelClient, resource: ListedResource[Any]) -> set[str] | None:
    active: set[str] = set()
    try:
        for first_page in resource.list_active():
            page = client.send(first_page)
            if page.next_offset is not None:
                # Rows shift between two pages while objects end, so that one may be on neither.
                log.info("More %ss are active than one page of the list holds, so each is fetched", resource.kind)
                return None
            active.update(resource.external_id(found) for found in page.items)
    except KernelError as error:
        log.warning("The active %ss cannot be listed, so each is fetched: %s", resource.kind, error)
        return None
    return active


def _tasks_that_go_on(dag_id: str, run_id: str, task_ids: Collection[str]) -> set[str]:
    """Return which tasks run again: the callback may come late, and a user may have cleared them meanwhile."""
    try:
        states = fetch_task_states(dag_id, run_id, task_ids=sorted(task_ids))
    except Exception as error:  # noqa: BLE001 (whatever keeps Airflow from answering)
        log.warning(
            "Whether tasks of run %s go on cannot be fetched, so their objects are ended: %s", run_id, error
        )
        return set()
    names = [name for name, state in states.items() if _goes_on(TaskState(state))]
    goes_on = {each for each in task_ids if any(re.fullmatch(rf"{re.escape(each)}(_\d+)?", name) for name in names)}
    for task_id in sorted(goes_on):
        log.info("Task %s runs again, and ends what it owns itself", task_id)
    return goes_on


def _goes_on(state: TaskState) -> bool:
    return not state.is_over and state is not TaskState.UNKNOWN


def seconds_left(ti: Any = None) -> float:
    """
    Return how long to try: Airflow ends the process that runs a callback after some time.

    :param ti: the task instance whose callback runs; ``None`` for a DAG's.
    """
    return max(0.0, _seconds_granted(ti) - _RESERVE_SECONDS)


def _seconds_granted(ti: Any) -> float:
    if ti is not None and is_in_task_process(ti):
        overtime: float = conf.getfloat("core", "task_success_overtime", fallback=_DEFAULT_OVERTIME_SECONDS)
        ended = getattr(ti, "end_date", None)
        return overtime - (max(0.0, (utc_now() - ended).total_seconds()) if ended is not None else 0.0)
    timeout: int = conf.getint("dag_processor", "dag_file_processor_timeout", fallback=_DEFAULT_TIMEOUT_SECONDS)
    age: float = max(0.0, time.time() - psutil.Process().create_time())
    if age > timeout:
        age = 0.0  # not such a process: `dag.test()` runs callbacks, too
    return timeout - age
