"""Flows: what takes more than one request, written once for both drivers."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from airflow_provider_kernel.client.http.request import Request

T = TypeVar("T")


@dataclass(frozen=True)
class Sleep:
    """
    Time to let pass before the next request.

    :param seconds: how long; whoever carries out the flow may cut it short.
    """

    seconds: float


Flow = Generator[Request[Any] | Sleep, Any, T]
