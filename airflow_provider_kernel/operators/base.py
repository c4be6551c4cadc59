"""What all operators and sensors of this package have in common."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_kernel._compat import AirflowFailException
from airflow_provider_kernel.client.dashboard import dashboard_link
from airflow_provider_kernel.client.errors import KernelError
from airflow_provider_kernel.links.kernel import DASHBOARD

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_kernel.client.resources.invocations.models import Invocation
    from airflow_provider_kernel.hooks.kernel import KernelHook


class CallsKernel:
    """
    What an operator needs to call the Kernel API; its ``kernel_conn_id`` names the connection.

    An error that another try cannot mend fails the task at once, without using up its retries; it is the
    ``__cause__`` of the ``AirflowFailException`` that says so.
    """

    kernel_conn_id: str
    #: Where the link on the task's page leads, once that is known.
    dashboard: str | None = None

    @cached_property
    def hook(self) -> KernelHook:
        """The hook, made at the first use."""
        # Not at the top: a DAG file is parsed far more often than its tasks run.
        from airflow_provider_kernel.hooks.kernel import KernelHook

        return KernelHook(self.kernel_conn_id, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        """
        Wait before a request is sent again.

        :param seconds: how long.
        """
        time.sleep(seconds)

    def show_dashboard(
        self, ti: Any, invocation_id: str, *, app_name: str | None = None, session_id: str | None = None
    ) -> str:
        """
        Put the link to the dashboard on the task's page, from now on.

        :param ti: the task instance.
        :param invocation_id: the invocation that the task is about.
        :param app_name: its app, as far as it is known.
        :param session_id: its first browser, as far as it is known.
        :return: where it leads.
        """
        template = self.hook.config.dashboard_url
        link = dashboard_link(template, invocation_id, app_name=app_name, session_id=session_id)
        if link != self.dashboard:
            self.dashboard = link
            DASHBOARD.write(ti, link, log=self.log)  # type: ignore[attr-defined]
        return link

    def log_end(self, invocation: Invocation, link: str) -> None:
        """Log how an invocation ended, how long it took, and the link to it."""
        duration = "" if invocation.seconds is None else f" after {invocation.seconds:.1f} s"
        self.log.info(  # type: ignore[attr-defined]
            "Invocation %s %s%s; see %s", invocation.id, invocation.status, duration, link
        )

    @contextmanager
    def calling_kernel(self) -> Iterator[None]:
        """
        Close the hook after the block, and fail the task for good where another try cannot help.

        :raises AirflowFailException: then.
        """
        try:
            with self.hook:
                yield
        except KernelError as error:
            if error.permanent:
                raise AirflowFailException(f"{type(error).__name__}: {error}") from error
            raise


class KernelBaseOperator(CallsKernel, BaseOperator):
    """
    Base of the operators that call the Kernel API. A subclass writes :meth:`run_with_hook`.

    :param kernel_conn_id: the Airflow connection, of type ``kernel`` (templated).
    """

    template_fields: Sequence[str] = ("kernel_conn_id",)
    ui_color = "#d8f3e6"
    ui_fgcolor = "#1a1a1a"

    def __init__(self, *, kernel_conn_id: str = "kernel_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kernel_conn_id = kernel_conn_id

    def execute(self, context: Context) -> Any:
        """
        Run the task.

        :param context: the task's context.
        :raises AirflowFailException: for an error that another try cannot mend.
        """
        with self.calling_kernel():
            return self.run_with_hook(context)

    def run_with_hook(self, context: Context) -> Any:
        """
        Do what the operator is for.

        :param context: the task's context.
        :return: what goes into XCom.
        """
        raise NotImplementedError
