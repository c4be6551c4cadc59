"""Time limits of an invocation. Imports next to nothing, so that DAG files may use them."""

from __future__ import annotations

from typing import Any

from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.client.sanitize import short_repr
from airflow_provider_kernel.client.validation import is_whole_number

#: The range of ``async_timeout_seconds``, after which Kernel ends an invocation by itself.
MIN_ASYNC_TIMEOUT_SECONDS = 10
MAX_ASYNC_TIMEOUT_SECONDS = 3600
#: The longest time from a start to the end that Kernel sets, in seconds: the limit, the queue, and some slack.
LONGEST_LIFE_SECONDS = MAX_ASYNC_TIMEOUT_SECONDS + 300
#: Kernel's default.
DEFAULT_ASYNC_TIMEOUT_SECONDS = 900


def check_async_timeout(name: str, value: Any) -> None:
    """Refuse a limit that Kernel would not take."""
    low, high = MIN_ASYNC_TIMEOUT_SECONDS, MAX_ASYNC_TIMEOUT_SECONDS
    if not is_whole_number(value) or not low <= value <= high:
        raise KernelInputError(f"{name} is {short_repr(value)}; Kernel takes whole seconds from {low} to {high}")
