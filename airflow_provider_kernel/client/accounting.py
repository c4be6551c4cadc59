"""What an error tells of the request that it came of."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow_provider_kernel.client.errors import Attempts, KernelError
from airflow_provider_kernel.client.http.request import Request


@contextmanager
def accounted(request: Request[Any], started: float, retrying: Any = None) -> Iterator[None]:
    """
    Tell an error that leaves the block what was asked, how often and how long.

    :param request: what was asked.
    :param started: when it was first sent, as ``time.monotonic()`` told it.
    :param retrying: tenacity's object that counts the attempts; ``None`` where there is just one.
    """
    try:
        yield
    except KernelError as error:
        count = retrying.statistics.get("attempt_number", 1) if retrying else 1
        error.asked = str(request)
        error.attempts = Attempts(count, time.monotonic() - started)
        raise
