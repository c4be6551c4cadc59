"""``@task.kernel_browser``: a function with a browser that ends with its task."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import attr
from airflow.sdk.bases.decorator import DecoratedOperator, _TaskDecorator

from airflow_provider_kernel.arguments import check_constants
from airflow_provider_kernel.browser.filling import refuse_given, without_filled
from airflow_provider_kernel.operators.browser import KernelBrowserTaskOperator, check_function

if TYPE_CHECKING:
    from airflow.sdk.bases.decorator import TaskDecorator


class KernelBrowserDecoratedOperator(DecoratedOperator, KernelBrowserTaskOperator):
    """
    The operator behind ``@task.kernel_browser``.

    :param python_callable: the decorated function.
    :param op_args: its positional arguments (templated).
    :param op_kwargs: its keyword arguments (templated).
    """

    template_fields: Sequence[str] = KernelBrowserTaskOperator.template_fields
    template_fields_renderers = KernelBrowserTaskOperator.template_fields_renderers
    custom_operator_name: str = "@task.kernel_browser"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        python_callable = without_filled(python_callable)
        refuse_given(python_callable, op_kwargs or {}, how="given")
        super().__init__(
            kwargs_to_upstream={"python_callable": python_callable, "op_args": op_args, "op_kwargs": op_kwargs},
            python_callable=python_callable,
            op_args=op_args,
            op_kwargs=op_kwargs,
            **kwargs,
        )


class _BrowserTaskDecorator(_TaskDecorator[Any, Any, KernelBrowserDecoratedOperator]):
    """Airflow's own, with an error for a mapped ``page`` or ``browser`` that says what to do."""

    def expand(self, **map_kwargs: Any) -> Any:
        refuse_given(self.function, map_kwargs, how="mapped")
        return super().expand(**map_kwargs)

    def expand_kwargs(self, kwargs: Any, *, strict: bool = True) -> Any:
        if isinstance(kwargs, Sequence):
            for item in kwargs:
                if isinstance(item, Mapping):
                    refuse_given(self.function, item, how="mapped")
        return super().expand_kwargs(kwargs, strict=strict)

    def partial(self, **kwargs: Any) -> Any:
        refuse_given(self.function, kwargs, how="given")
        return super().partial(**kwargs)


def kernel_browser_task(
    python_callable: Callable[..., Any] | None = None,
    multiple_outputs: bool | None = None,
    **kwargs: Any,
) -> TaskDecorator:
    """
    Turn a function into a task with a browser of its own: its parameters ``browser`` and ``page`` are filled.

    See :class:`~airflow_provider_kernel.operators.browser.KernelBrowserTaskOperator` for the life of the browser,
    and for the other arguments.

    :param multiple_outputs: whether to also push each item of a returned dict to XCom.
    """
    check_constants(KernelBrowserDecoratedOperator, kwargs)

    def decorate(function: Callable[..., Any]) -> Any:
        if not callable(function):
            raise TypeError("No positional arguments allowed while using @task.kernel_browser; name them")
        function = without_filled(function)
        check_function(function)
        return _BrowserTaskDecorator(
            function=function,
            multiple_outputs=cast("bool", attr.NOTHING if multiple_outputs is None else multiple_outputs),
            operator_class=KernelBrowserDecoratedOperator,
            kwargs=dict(kwargs),
            decorator_name="task.kernel_browser",
        )

    return cast("TaskDecorator", decorate if python_callable is None else decorate(python_callable))
