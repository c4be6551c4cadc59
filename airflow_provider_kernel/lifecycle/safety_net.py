"""
The safety net: it ends what a DAG run owns when the run is over, and no task is left to do so.

Two ways lead to such objects. The DAG callback reads the ids that the run's tasks have published in XCom. The sweep
lists the active objects at Kernel, and reads the run from the mark that each one carries; an object without a mark
is left alone. Both serve every kind of object; see :mod:`airflow_provider_kernel.owned`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from airflow_provider_kernel.client.errors import KernelError
from airflow_provider_kernel.client.flow import Flow
from airflow_provider_kernel.client.http.pagination import Page
from airflow_provider_kernel.client.http.request import Request
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle.ledger import StartRecord
from airflow_provider_kernel.lifecycle.resource import (
    EndableResource,
    EndReason,
    EndReport,
    Ownership,
    end_failed,
    published_ids,
    try_to_end,
)
from airflow_provider_kernel.lifecycle.task_instances import run_id_of

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

R = TypeVar("R")

_RUN_IS_OVER = frozenset({"success", "failed"})


class MarkedResource(EndableResource[R], Protocol[R]):
    """A kind of object that the sweep can find, since each object carries a mark of its owner."""

    def list_active(self) -> Iterable[Request[Page[R]]]:
        """Return the first request of each list whose pages together hold all active objects."""
        ...

    def owner_mark(self, found: R) -> Mapping[str, Any]:
        """Return the mark of an object, a ``StartMark`` as JSON; an empty one if there is none."""
        ...


@dataclass(frozen=True)
class Orphan:
    """An active object whose DAG run is over."""

    external_id: str
    status: str
    dag_id: str
    run_id: str
    task_id: str | None


def end_owned_by_run(context: Context, kinds: Mapping[str, EndableResource[Any]]) -> None:
    """
    End every active object that a task of a DAG run owns. For a DAG callback, which runs in the DAG processor.

    An object that cannot be found or ended is logged, and does not keep the others from their end.

    :param kinds: the kinds of objects, by name. An operator that owns one names it in its ``owned_kind``.
    """
    dag, run_id = context["dag"], run_id_of(context)
    for task in dag.tasks:
        resource = kinds.get(getattr(getattr(task, "operator_class", type(task)), "owned_kind", ""))
        # Of a mapped task there are the arguments only, without the defaults.
        arguments: Mapping[str, Any] = getattr(task, "partial_kwargs", None) or vars(task)
        if resource is None or Ownership.from_arguments(arguments) is Ownership.NOBODY:
            continue
        kernel_conn_id = str(arguments.get("kernel_conn_id", KernelHook.default_conn_name))
        with KernelHook(kernel_conn_id) as hook:
            for external_id in _published_ids(resource.kind, dag.dag_id, task.task_id, run_id):
                _run_and_log(hook, resource, external_id, _end_if_active(resource, external_id))


def find_orphans(hook: KernelHook, resource: MarkedResource[R], ti: Any) -> Iterator[Orphan]:
    """Find the objects whose DAG run is over. A run that Airflow does not know is not over."""
    states: dict[tuple[str, str], str | None] = {}
    for first_page in resource.list_active():
        # The whole list first: its pages shift while objects are ended.
        for found in list(hook.get_conn().pages(first_page)):
            mark = resource.owner_mark(found)
            dag_id, run_id = mark.get("dag_id"), mark.get("run_id")
            if not isinstance(dag_id, str) or not isinstance(run_id, str):
                continue
            if (dag_id, run_id) not in states:
                states[dag_id, run_id] = _run_state(ti, dag_id, run_id)
            if states[dag_id, run_id] in _RUN_IS_OVER:
                status = resource.describe(found)
                yield Orphan(resource.external_id(found), status, dag_id, run_id, mark.get("task_id"))


def end_by_id(hook: KernelHook, resource: EndableResource[Any], external_id: str, reason: str) -> EndReport:
    """End an object that no process owns any more, and log how it went. A failure is in the report."""
    flow = try_to_end(resource, StartRecord.naming(external_id), reason)
    return _run_and_log(hook, resource, external_id, flow)


def _published_ids(kind: str, dag_id: str, task_id: str, run_id: str) -> frozenset[str]:
    try:
        return published_ids(kind, dag_id=dag_id, task_id=task_id, run_id=run_id)
    except Exception as error:  # noqa: BLE001 (whatever keeps Airflow from answering)
        log.error("What task %s owns cannot be read from XCom: %s", task_id, error)  # noqa: TRY400
        return frozenset()


def _run_and_log(
    hook: KernelHook, resource: EndableResource[Any], external_id: str, flow: Flow[EndReport]
) -> EndReport:
    try:
        report = hook.get_conn().run(flow)
    except KernelError as error:
        report = end_failed(resource.kind, external_id, error)
    report.log(log)
    return report


def _end_if_active(resource: EndableResource[Any], external_id: str) -> Flow[EndReport]:
    """End an object, without a log line if it is over: in most runs, that is all of them."""
    found = yield from resource.get(external_id)
    if resource.is_over(found):
        return EndReport()
    return (yield from try_to_end(resource, StartRecord.naming(external_id), EndReason.RUN_FAILED))


def _run_state(ti: Any, dag_id: str, run_id: str) -> str | None:
    try:
        state: Any = ti.get_dagrun_state(dag_id, run_id)
    except Exception as error:  # noqa: BLE001 (whatever it is: an unknown state leaves the object alone)
        log.info("The state of run %s of DAG %s could not be fetched: %s", run_id, dag_id, error)
        return None
    return str(getattr(state, "value", state))
