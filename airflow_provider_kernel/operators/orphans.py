"""The sweep, for a maintenance DAG: it ends invocations and browsers whose DAG run is over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_kernel.invocation_arguments import check_arguments
from airflow_provider_kernel.operators.base import KernelBaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_kernel.lifecycle.sweep import MarkedResource, Orphan

#: How many ids one line of the log names.
_MAX_NAMED = 20


class KernelCancelOrphansOperator(KernelBaseOperator):
    """
    Find invocations and browsers whose DAG run or task is over, and end them.

    Whose an invocation is says the mark that ``KernelInvokeOperator(correlation_key=...)`` puts into the payload;
    whose a browser is say its tags, which every task's browser has. The task of one without a mark is searched in
    the runs of ``dag_ids``. One is left alone if its DAG run goes on, or if this Airflow does not know whose it is:
    browsers with the ``owner`` of another Airflow among them.

    :param what: what to find: ``"invocations"``, ``"browsers"``, or both.
    :param app_name: the Kernel app whose invocations are checked (templated). Only browsers need none.
    :param correlation_key: the key of the mark in the payload.
    :param dag_ids: the ids of the DAGs that may own what has no mark (templated). Default: none, and it is left
        alone. A browser has none if nothing says which Airflow this is (``owner`` in the connection's extra,
        ``AIRFLOW_KERNEL_OWNER``, ``[api] base_url``), or if the id of its DAG or run is one that tags refuse.
    :param dry_run_only: ``True``, the default, only logs what would be ended. (``dry_run`` is a method of every
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
        what: Sequence[str] = ("invocations",),
        app_name: str | None = None,
        correlation_key: str = "_airflow",
        dag_ids: Sequence[str] = (),
        dry_run_only: bool = True,
        since: str = "2h",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.what = what
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
        ended: list[str] = []
        errors: list[BaseException] = []
        for resource in self._resources():
            orphans = self._find(resource)
            ended += [orphan.external_id for orphan in orphans]
            if orphans and not self.dry_run_only:
                errors += self._end(resource, orphans)
        if self.dry_run_only:
            self.log.info("%d orphans found (dry run)", len(ended))
        elif not ended:
            self.log.info("No orphans found")
        if errors:
            raise errors[0]
        return ended

    def _resources(self) -> Iterator[MarkedResource[Any]]:
        from airflow_provider_kernel.owned.browser import MarkedBrowser
        from airflow_provider_kernel.owned.invocation import MarkedInvocation

        if "invocations" in self.what:
            yield MarkedInvocation(str(self.app_name), self.correlation_key, since=self.since)
        if "browsers" in self.what:
            if not self.hook.is_owner_named:
                self.log.warning(
                    "Nothing says which Airflow this is, so that the tags of browsers do not count: set owner in "
                    "the connection's extra, AIRFLOW_KERNEL_OWNER, or [api] base_url"
                )
            yield MarkedBrowser(self.hook.owner, counts=self.hook.is_owner_named)

    def _find(self, resource: MarkedResource[Any]) -> list[Orphan]:
        from airflow_provider_kernel.lifecycle.sweep import find_orphans

        client = self.hook.get_conn()
        # Rows shift between pages while they are read, so one may appear twice.
        listed = (found for first in resource.list_active() for found in client.pages(first))
        active = {resource.external_id(found): found for found in listed}
        found = find_orphans(active.values(), resource, dag_ids=self.dag_ids, since=self.since)
        kind = resource.kind
        for orphan in found.orphans:
            self.log.info(
                "%s %s (%s) of %s.%s, run %s; the %s is over%s",
                kind.capitalize(),
                orphan.external_id,
                orphan.status,
                orphan.dag_id,
                orphan.task_id,
                orphan.run_id,
                orphan.what_is_over,
                ": would be ended" if self.dry_run_only else "",
            )
        if found.undecided:
            self.log.warning(
                "Of %d of the %d active %ss it is unknown whose they are, or whether that is over; they are"
                " left alone: %s",
                len(found.undecided),
                len(active),
                kind,
                ", ".join(found.undecided[:_MAX_NAMED]),
            )
        return found.orphans

    def _end(self, resource: MarkedResource[Any], orphans: list[Orphan]) -> list[BaseException]:
        from airflow_provider_kernel.lifecycle.sweep import end_orphans

        reports = end_orphans(self.hook.config, resource, orphans)
        errors = [report.error for report in reports if report.error is not None]
        self.log.info("%d of %d orphaned %ss ended", len(reports) - len(errors), len(reports), resource.kind)
        return errors
