"""The operator for a maintenance DAG: invocations that nobody waits for any more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_kernel.client.errors import KernelError, KernelInputError
from airflow_provider_kernel.operators.base import KernelBaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_kernel.client.resources.invocations.models import Invocation

_OVER = frozenset({"success", "failed"})
_ACTIVE = ("queued", "running")


class KernelCancelOrphansOperator(KernelBaseOperator):
    """
    Find invocations whose DAG run is over, and cancel them.

    They are told by the mark that ``KernelInvokeOperator(correlation_key=...)`` puts into their payload; without it
    nobody could say whose they are. An invocation whose DAG run still goes on, or is not known to this Airflow, is
    left alone.

    :param app_name: the Kernel app to look at (templated).
    :param correlation_key: the key that the mark is under.
    :param dry_run_only: ``True``, the default, only says what would be cancelled. (``dry_run`` is a method of every
        operator.)
    :param since: how far to look back, such as ``"2h"``; an invocation lasts an hour at most.
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
            raise KernelInputError("correlation_key is empty; give the one that the invoking tasks have")

    def run_with_hook(self, context: Context) -> list[str]:
        """
        Look for orphans, and cancel them unless only a dry run is wanted.

        :param context: the task's context.
        :return: their ids.
        :raises KernelError: when one of them could not be cancelled; the others were.
        """
        found: list[str] = []
        failure: KernelError | None = None
        for invocation, mark in self._orphans(context):
            found.append(invocation.id)
            whose = f"{mark['dag_id']}.{mark.get('task_id')}, run {mark['run_id']}, which is over"
            if self.dry_run_only:
                self.log.info(
                    "Invocation %s (%s) of %s: would be cancelled", invocation.id, invocation.status, whose
                )
                continue
            self.log.info("Invocation %s (%s) of %s", invocation.id, invocation.status, whose)
            try:
                self.hook.cancel_invocation(invocation.id, "Its Airflow DAG run is over")
            except KernelError as error:
                self.log.exception("Invocation %s could not be cancelled", invocation.id)
                failure = failure or error
        self.log.info("%d orphans %s", len(found), "found (dry run)" if self.dry_run_only else "cancelled")
        if failure is not None:
            raise failure
        return found

    def _orphans(self, context: Context) -> Iterator[tuple[Invocation, dict[str, Any]]]:
        from airflow_provider_kernel.client.resources.invocations.find_started import correlation_mark

        states: dict[tuple[str, str], str | None] = {}
        for status in _ACTIVE:
            # All of them first: the list shifts while its invocations are cancelled.
            active = list(self.hook.list_invocations(app_name=self.app_name, status=status, since=self.since))
            for invocation in active:
                mark = correlation_mark(invocation, self.correlation_key) or {}
                dag_id, run_id = mark.get("dag_id"), mark.get("run_id")
                if not isinstance(dag_id, str) or not isinstance(run_id, str):
                    continue
                if (dag_id, run_id) not in states:
                    states[dag_id, run_id] = self._state(context, dag_id, run_id)
                if states[dag_id, run_id] in _OVER:
                    yield invocation, mark

    def _state(self, context: Context, dag_id: str, run_id: str) -> str | None:
        try:
            state: Any = context["ti"].get_dagrun_state(dag_id, run_id)
            return str(getattr(state, "value", state))
        except Exception as error:  # noqa: BLE001 (whatever it is: not known means left alone)
            self.log.info("Airflow does not know run %s of %s: %s", run_id, dag_id, error)
            return None
