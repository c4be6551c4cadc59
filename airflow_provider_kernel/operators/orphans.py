"""The sweep, for a maintenance DAG: it cancels invocations whose DAG run is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_kernel.arguments import check_arguments
from airflow_provider_kernel.operators.base import KernelBaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


#: How many ids one line of the log names.
_MAX_NAMED = 20


class KernelCancelOrphansOperator(KernelBaseOperator):
    """
    Find invocations whose DAG run or task is over, and cancel them.

    The DAG run is read from the mark that ``KernelInvokeOperator(correlation_key=...)`` puts into the payload. The
    task of an invocation without a mark is searched in the runs of ``dag_ids``. An invocation is left alone if its
    DAG run goes on, or if this Airflow does not know whose it is.

    :param app_name: the Kernel app whose invocations are checked (templated).
    :param correlation_key: the key of the mark in the payload.
    :param dag_ids: the ids of the DAGs that may own invocations without a mark (templated). Default: none, and such
        invocations are left alone.
    :param dry_run_only: ``True``, the default, only logs what would be cancelled. (``dry_run`` is a method of every
        operator.)
    :param since: the greatest age of an invocation, such as ``"2h"``; an invocation lasts an hour at most. With
        ``dag_ids`` also the greatest age of the finished runs that are searched.
    :param kernel_conn_id: the Airflow connection, of type ``kernel`` (templated).
    """

    template_fields: Sequence[str] = ("app_name", "dag_ids", "kernel_conn_id")
    ui_color = "#f6ebc8"

    def __init__(
        self,
        *,
        app_name: str,
        correlation_key: str = "_airflow",
        dag_ids: Sequence[str] = (),
        dry_run_only: bool = True,
        since: str = "2h",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.app_name = app_name
        self.correlation_key = correlation_key
        self.dag_ids = dag_ids
        self.dry_run_only = dry_run_only
        self.since = since
        check_arguments(self)

    def run_with_hook(self, context: Context) -> list[str]:
        """
        Find the orphans, and end them unless this is a dry run.

        :return: their ids.
        :raises KernelError: when one of them could not be ended; the others were.
        """
        from airflow_provider_kernel.lifecycle.sweep import end_orphans, find_orphans
        from airflow_provider_kernel.owned.invocation import MarkedInvocation

        resource = MarkedInvocation(self.app_name, self.correlation_key, since=self.since)
        client = self.hook.get_conn()
        # Rows shift between pages while they are read, so one may appear twice.
        active = {found.id: found for first in resource.list_active() for found in client.pages(first)}
        found = find_orphans(active.values(), resource, dag_ids=self.dag_ids, since=self.since)
        for orphan in found.orphans:
            self.log.info(
                "Invocation %s (%s) of %s.%s, run %s; the %s is over%s",
                orphan.external_id,
                orphan.status,
                orphan.dag_id,
                orphan.task_id,
                orphan.run_id,
                orphan.what_is_over,
                ": would be cancelled" if self.dry_run_only else "",
            )
        if found.undecided:
            self.log.warning(
                "Of %d of the %d active invocations it is unknown whose they are, or whether that is over; they are"
                " left alone: %s",
                len(found.undecided),
                len(active),
                ", ".join(found.undecided[:_MAX_NAMED]),
            )
        if self.dry_run_only:
            self.log.info("%d orphans found (dry run)", len(found.orphans))
        elif found.orphans:
            reports = end_orphans(self.hook.config, resource, found.orphans)
            errors = [report.error for report in reports if report.error is not None]
            self.log.info("%d of %d orphans cancelled", len(reports) - len(errors), len(reports))
            if errors:
                raise errors[0]
        else:
            self.log.info("No orphans found")
        return [orphan.external_id for orphan in found.orphans]
