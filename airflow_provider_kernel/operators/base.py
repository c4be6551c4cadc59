"""What all operators of this package have in common."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_kernel._compat import AirflowFailException
from airflow_provider_kernel.api.errors import KernelError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_kernel.hooks.kernel import KernelHook


class KernelBaseOperator(BaseOperator):
    """
    Base of the operators that call the Kernel API.

    A subclass writes :meth:`run_with_hook`. An error that another try cannot mend fails the task at once, without
    using up its retries; it is the ``__cause__`` of the ``AirflowFailException`` that says so.

    :param kernel_conn_id: the Airflow connection, of type ``kernel`` (templated).
    """

    template_fields: Sequence[str] = ("kernel_conn_id",)
    ui_color = "#d8f3e6"

    def __init__(self, *, kernel_conn_id: str = "kernel_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kernel_conn_id = kernel_conn_id

    @cached_property
    def hook(self) -> KernelHook:
        """The hook, made at the first use."""
        # Not at the top: a DAG file is parsed far more often than its tasks run.
        from airflow_provider_kernel.hooks.kernel import KernelHook

        return KernelHook(self.kernel_conn_id)

    def execute(self, context: Context) -> Any:
        """
        Run the task.

        :param context: the task's context.
        :raises AirflowFailException: for an error that another try cannot mend.
        """
        try:
            with self.hook:
                return self.run_with_hook(context)
        except KernelError as error:
            if error.permanent:
                raise AirflowFailException(f"{type(error).__name__}: {error}") from error
            raise

    def run_with_hook(self, context: Context) -> Any:
        """
        Do what the operator is for.

        :param context: the task's context.
        :return: what goes into XCom.
        """
        raise NotImplementedError
