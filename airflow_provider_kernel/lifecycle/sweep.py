"""
The sweep: it finds active objects whose DAG run or task is over, for a maintenance DAG that ends them.

Kernel's list of active objects comes first. A mark in an object names its task. Of one without a mark, the task is
searched in the ownership records of some DAGs; see :mod:`airflow_provider_kernel.lifecycle.unmarked`. What another
Airflow started, and what cannot be decided, is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from airflow_provider_kernel.client.client import KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.safe_logger import get_logger
from airflow_provider_kernel.client.timestamps import utc_now
from airflow_provider_kernel.lifecycle.end_all import REQUEST_SECONDS, Obligation, end_all
from airflow_provider_kernel.lifecycle.ending import WORKER_END_SECONDS, for_ending
from airflow_provider_kernel.lifecycle.next_in_line import AFTER_SWEEP
from airflow_provider_kernel.lifecycle.ownership import fetch_ownership
from airflow_provider_kernel.lifecycle.resource import EndableResource, EndReason, EndReport, ListedResource
from airflow_provider_kernel.lifecycle.unmarked import InstanceName, Owned, find_owners, run_is_over

log = get_logger(__name__)

R = TypeVar("R")

#: For how long the sweep tries to end what it found.
SWEEP_SECONDS = WORKER_END_SECONDS

_REASONS = {"run": EndReason.RUN_OVER, "task": EndReason.TASK_OVER}


class MarkedResource(ListedResource[R], Protocol[R]):
    """A kind of object that the sweep can find, since each object may carry a mark of its owner."""

    def owner_mark(self, found: R) -> Mapping[str, Any]:
        """Return the mark of an object, a ``StartMark`` as JSON; an empty one if there is none."""
        ...


@dataclass(frozen=True)
class Orphan:
    """
    An active object whose DAG run or task is over.

    :param what_is_over: for the log: the run, or the task.
    """

    external_id: str
    status: str
    dag_id: str
    run_id: str
    task_id: str | None
    what_is_over: str


@dataclass
class Found:
    """
    What the sweep found.

    :param undecided: the ids of active objects of which it is unknown whose they are, or whether that is over.
    """

    orphans: list[Orphan] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)


def find_orphans(objects: Iterable[R], resource: MarkedResource[R], *, dag_ids: Sequence[str], since: str) -> Found:
    """
    Find the orphans among active objects.

    :param objects: the whole list: its pages shift while objects are ended.
    :param dag_ids: the DAGs whose tasks may own what has no mark.
    :param since: how far back to read their runs, such as ``"2h"``.
    """
    found = Found()
    unmarked: dict[str, str] = {}
    states: dict[tuple[str, str], bool | None] = {}
    for each in objects:
        external_id, status = resource.external_id(each), resource.describe(each)
        mark = resource.owner_mark(each)
        dag_id, run_id = mark.get("dag_id"), mark.get("run_id")
        if not isinstance(dag_id, str) or not isinstance(run_id, str):
            unmarked[external_id] = status
            continue
        if (dag_id, run_id) not in states:
            states[dag_id, run_id] = run_is_over(dag_id, run_id)
        if states[dag_id, run_id] and not _outlives_its_run(resource.kind, external_id, mark):
            found.orphans.append(Orphan(external_id, status, dag_id, run_id, mark.get("task_id"), "run"))
        elif states[dag_id, run_id] is None:
            found.undecided.append(external_id)
    owners = find_owners(resource.kind, dag_ids, unmarked, since=since, now=utc_now()) if unmarked else {}
    for external_id, status in unmarked.items():
        owned = owners.get(external_id)
        if owned is None or owned.what_is_over is None:
            found.undecided.append(external_id)
        elif owned.what_is_over:
            found.orphans.append(_orphan(external_id, status, owned))
    return found


def end_orphans(config: KernelConfig, resource: EndableResource[Any], orphans: Sequence[Orphan]) -> list[EndReport]:
    """End what no process owns any more, all at once and until the time is over. Failures are in the reports."""
    with KernelClient(for_ending(config, timeout_seconds=REQUEST_SECONDS)) as client:
        obligations = [
            Obligation(client, resource, orphan.external_id, _REASONS[orphan.what_is_over]) for orphan in orphans
        ]
        return end_all(obligations, seconds=SWEEP_SECONDS, next_in_line=AFTER_SWEEP)


def _outlives_its_run(kind: str, external_id: str, mark: Mapping[str, Any]) -> bool:
    """Return whether its task has written that it does not own the object. Without a record, the mark decides."""
    map_index = mark.get("map_index")
    instance = InstanceName(
        mark["dag_id"], mark["run_id"], str(mark.get("task_id")), map_index if isinstance(map_index, int) else -1
    )
    try:
        record = fetch_ownership(kind, instance)
    except Exception as error:  # noqa: BLE001 (whatever keeps Airflow from answering)
        log.info("The record of the task that started %s %s cannot be read: %s", kind, external_id, error)
        return False
    return record is not None and record.external_id == external_id and not record.is_owned


def _orphan(external_id: str, status: str, owned: Owned) -> Orphan:
    return Orphan(external_id, status, owned.dag_id, owned.run_id, owned.task_id, owned.what_is_over or "")
