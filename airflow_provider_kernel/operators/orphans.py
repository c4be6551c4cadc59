"""The sweep, for a maintenance DAG: it cancels invocations whose DAG run is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.lifecycle.resource import EndReason
from airflow_provider_kernel.operators.base import KernelBaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class KernelCancelOrphansOperator(KernelBaseOperator):
    """
    Find invocations whose DAG run is over, and cancel them.

    The DAG run is read from the mark that ``KernelInvokeOperator(correlation_key=...)`` puts into the payload. An
    invocation without a mark is left alone, and so is one whose DAG run goes on or is not known to this Airflow.

    :param app_name: the Kernel app whose invocations are checked (templated).
    :param correlation_key: the key of the mark in the payload.
    :param dry_run_only: ``True``, the default, only logs what would be cancelled. (``dry_run`` is a method of every
        operator.)
    :param since: the greatest age of an invocation, such as ``"2h"``; an invocation lasts an hour at most.
    :param kernel_conn_id: the Airflow connection, of type ``kernel`` (templated).
    """

    template_fields: Sequence[str] = ("app_name", "kernel_conn_id")
    ui_color = "#f6ebc8"

    def __init__(
        self,
        *,
        app_name: str,
        correlation_key: str = "_airflow",
        dry_run_only: bool = True,
        since: str = "2h",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.app_name = app_name
        self.correlation_key = correlation_key
        self.dry_run_only = dry_run_only
        self.since = since
        if not correlation_key:
            raise KernelInputError("correlation_key is empty; set the one that the invoking tasks have")

    def run_with_hook(self, context: Context) -> list[str]:
        """
        Find the orphans, and end them unless this is a dry run.

        :return: their ids.
        :raises KernelError: when one of them could not be ended; the others were.
        """
        from airflow_provider_kernel.lifecycle.safety_net import end_by_id, find_orphans
        from airflow_provider_kernel.owned.invocation import MarkedInvocation

        resource = MarkedInvocation(self.app_name, self.correlation_key, since=self.since)
        ids: list[str] = []
        errors: list[BaseException] = []
        for orphan in find_orphans(self.hook, resource, context["ti"]):
            ids.append(orphan.external_id)
            self.log.info(
                "Invocation %s (%s) of %s.%s, run %s, which is over%s",
                orphan.external_id,
                orphan.status,
                orphan.dag_id,
                orphan.task_id,
                orphan.run_id,
                ": would be cancelled" if self.dry_run_only else "",
            )
            if self.dry_run_only:
                continue
            report = end_by_id(self.hook, resource, orphan.external_id, EndReason.RUN_OVER)
            if report.error is not None:
                errors.append(report.error)
        if self.dry_run_only:
            self.log.info("%d orphans found (dry run)", len(ids))
        else:
            self.log.info("%d of %d orphans cancelled", len(ids) - len(errors), len(ids))
        if errors:
            raise errors[0]
        return ids
