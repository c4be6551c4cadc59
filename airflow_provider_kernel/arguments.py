"""Checks of arguments, made when the DAG is parsed: a task should not have to run to tell of a typing error."""

from __future__ import annotations

import math
from typing import Any

from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.client.sanitize import short_repr

DEFAULT_MAX_LOG_LINES = 10_000


def check_poll_interval(value: Any) -> None:
    """
    Check seconds between two looks.

    :param value: what was given.
    :raises KernelInputError: when it is no finite number above 0.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise KernelInputError(f"poll_interval is {short_repr(value)}; it takes seconds above 0")


def check_whole_number(name: str, value: Any) -> None:
    """
    Check a limit.

    :param name: the argument.
    :param value: what was given.
    :raises KernelInputError: when it is no whole number from 0.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise KernelInputError(f"{name} is {short_repr(value)}; it takes a whole number from 0")
