"""``@task.kernel_invocation``: a function whose return value an invocation waits for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.decorator import DecoratedOperator, task_decorator_factory

from airflow_provider_kernel.operators.invocation_task import KernelInvocationTaskOperator

if TYPE_CHECKING:
    from airflow.sdk.bases.decorator import TaskDecorator

_PARAMETER = "kernel_invocation"


class KernelInvocationDecoratedOperator(DecoratedOperator, KernelInvocationTaskOperator):
    """
    The operator behind ``@task.kernel_invocation``.

    :param python_callable: the function.
    :param op_args: its positional arguments (templated).
    :param op_kwargs: its named arguments (templated).
    """

    template_fields: Sequence[str] = KernelInvocationTaskOperator.template_fields
    template_fields_renderers = KernelInvocationTaskOperator.template_fields_renderers
    custom_operator_name: str = "@task.kernel_invocation"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        # The argument that the task gives the function itself, so that it needs no default of None in the function.
        parameter = inspect.signature(python_callable).parameters.get(_PARAMETER)
        if parameter is not None and _PARAMETER not in (op_kwargs or {}):
            op_kwargs = {**(op_kwargs or {}), _PARAMETER: None}
        super().__init__(
            kwargs_to_upstream={"python_callable": python_callable, "op_args": op_args, "op_kwargs": op_kwargs},
            python_callable=python_callable,
            op_args=op_args,
            op_kwargs=op_kwargs,
            **kwargs,
        )


def kernel_invocation_task(
    python_callable: Callable[..., Any] | None = None,
    multiple_outputs: bool | None = None,
    **kwargs: Any,
) -> TaskDecorator:
    """
    Make a function a task that a waiting invocation is answered by.

    See :class:`~airflow_provider_kernel.operators.invocation_task.KernelInvocationTaskOperator` for what becomes of
    the invocation, and for the arguments.

    :param python_callable: the function.
    :param multiple_outputs: whether to push each item of a returned dict to XCom too.
    """
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=multiple_outputs,
        decorated_operator_class=KernelInvocationDecoratedOperator,
        **kwargs,
    )
