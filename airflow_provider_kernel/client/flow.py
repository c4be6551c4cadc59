"""
Flows: what takes more than one step, written once for both clients.

A flow is a generator without any I/O, as httpx's ``auth_flow`` is: it yields a request and is sent its answer, or
thrown its error; it yields a :class:`Sleep` and goes on when that is over; it returns its result. The decisions
stand in the flow, and ``KernelClient.run`` and ``AsyncKernelClient.run`` only send and sleep::

    def restart(invocation_id: str) -> Flow[Invocation]:
        before = yield from requests.get_invocation(invocation_id)
        yield Sleep(1.0)
        return (yield from requests.create_invocation(before.app_name, before.action_name))

Write ``yield from request``, not ``yield request``: the result then has the request's own type.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from airflow_provider_kernel.client.http.request import Request

T = TypeVar("T")


@dataclass(frozen=True)
class Sleep:
    """
    Time to let pass before the next request; the driver may cut it short.

    :param seconds: how long.
    """

    seconds: float


Flow = Generator[Request[Any] | Sleep, Any, T]
