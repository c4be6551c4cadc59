"""``@task.kernel_invocation``: a function whose return value becomes the output of a waiting invocation."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.decorator import DecoratedOperator, task_decorator_factory

from airflow_provider_kernel.invocation_arguments import check_constants
from airflow_provider_kernel.operators.invocation_task import KernelInvocationTaskOperator

if TYPE_CHECKING:
    from airflow.sdk.bases.decorator import TaskDecorator

_PARAMETER = "kernel_invocation"


class KernelInvocationDecoratedOperator(DecoratedOperator, KernelInvocationTaskOperator):
    """
    The operator behind ``@task.kernel_invocation``.

    :param python_callable: the decorated function.
    :param op_args: its positional arguments (templated).
    :param op_kwargs: its keyword arguments (templated).
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
        # The operator itself passes this argument at run time, so the function needs no default for it.
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
    Turn a function into a task that ends a waiting invocation with the function's result.

    See :class:`~airflow_provider_kernel.operators.invocation_task.KernelInvocationTaskOperator` for how the
    invocation ends, and for the other arguments.

    :param multiple_outputs: whether to also push each item of a returned dict to XCom.
    """
    check_constants(KernelInvocationDecoratedOperator, kwargs)
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=multiple_outputs,
        decorated_operator_class=KernelInvocationDecoratedOperator,
        **kwargs,
    )
