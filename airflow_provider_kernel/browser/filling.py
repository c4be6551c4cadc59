"""
Functions whose parameters ``browser`` and ``page`` are filled when they run.

The others are filled by the caller, in order, as if these two were not there.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

from airflow_provider_kernel.client.errors import KernelInputError

#: The parameters that are filled.
FILLED = ("browser", "page")

_ATTRIBUTE = "_kernel_filled"
_values: ContextVar[Mapping[str, Any] | None] = ContextVar("kernel_filled_parameters", default=None)


def without_filled(function: Callable[..., Any]) -> Callable[..., Any]:
    """
    Wrap a function, so that its signature shows neither ``browser`` nor ``page``.

    Called outside of :func:`filling`, such as in a test of the function, the wrapper takes all parameters.
    """
    if hasattr(function, _ATTRIBUTE):
        return function
    try:
        signature = inspect.signature(function)
    except ValueError as error:
        raise KernelInputError(f"{error}; write a function that calls it") from None
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    names = tuple(
        name
        for name, parameter in signature.parameters.items()
        if name in FILLED and parameter.kind not in variable
    )
    others = [parameter for name, parameter in signature.parameters.items() if name not in names]
    reduced = signature.replace(parameters=others)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        values = _values.get()
        if values is None:
            return function(*args, **kwargs)
        bound = reduced.bind(*args, **kwargs)
        bound.apply_defaults()
        given = {**bound.arguments, **{name: values[name] for name in names}}
        # In the order of the function: the filled ones may stand anywhere.
        in_order = {name: given[name] for name in signature.parameters if name in given}
        full = inspect.BoundArguments(signature, in_order)
        return function(*full.args, **full.kwargs)

    # Airflow runs a generator to its end, but only where it sees that the function makes one.
    @functools.wraps(function)
    def generate(*args: Any, **kwargs: Any) -> Any:
        return (yield from call(*args, **kwargs))

    wrapper: Any = generate if inspect.isgeneratorfunction(function) else call
    wrapper.__signature__ = reduced
    setattr(wrapper, _ATTRIBUTE, names)
    return cast("Callable[..., Any]", wrapper)


def filled_of(function: Any) -> tuple[str, ...]:
    """Return which parameters of a wrapped function are filled."""
    return getattr(function, _ATTRIBUTE, ())


def is_async(function: Any) -> bool:
    """Return whether a function is ``async``, under whatever wrapper."""
    return inspect.iscoroutinefunction(inspect.unwrap(function))


@contextmanager
def filling(**values: Any) -> Iterator[None]:
    """Fill the parameters of functions that are called in the block."""
    token = _values.set(values)
    try:
        yield
    finally:
        _values.reset(token)


def refuse_given(function: Any, names: Any, *, how: str) -> None:
    """
    Refuse arguments that are filled.

    :param names: those that are given.
    :param how: how, for the message.
    :raises KernelInputError: when one of them is.
    """
    for name in filled_of(function):
        if name in names:
            raise KernelInputError(
                f"{name} is {how}, but Kernel's task fills it: it is the task's own {name}. Rename your function's "
                f"parameter, to {name}_name or the like"
            )
