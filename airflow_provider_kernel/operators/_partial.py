"""What a mapped task has of its operator before it runs: ``partial()``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow.sdk import BaseOperator

from airflow_provider_kernel.arguments import check_constants


class CheckedPartial:
    """
    ``partial()`` of an operator, with the check of the arguments that it is given.

    Airflow makes the operator of a mapped task only when the task runs.
    """

    def __get__(self, task: Any, cls: type[Any]) -> Callable[..., Any]:
        plain: Callable[..., Any] = vars(BaseOperator)["partial"].__get__(task, cls)
        if task is not None:  # Airflow's refuses that
            return plain

        def partial(**kwargs: Any) -> Any:
            check_constants(cls, kwargs)
            return plain(**kwargs)

        return partial
