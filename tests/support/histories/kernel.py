"""Kernel as the processes of a history reach it: through outages, and only while they live."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from support.histories.clock import CLOCK
from support.histories.plans import ENDING, IN_FLIGHT, Outage
from support.histories.process import Process, current

from airflow_provider_kernel.client.client import AsyncKernelClient, KernelClient
from airflow_provider_kernel.client.destination import ConnectionProblem
from airflow_provider_kernel.client.errors import KernelConnectionError, KernelTimeoutError
from airflow_provider_kernel.client.http.response import Response
from airflow_provider_kernel.client.resources.invocations.wait import Poll

if TYPE_CHECKING:
    import pytest

#: How long an exchange takes, on the clock of the histories.
EXCHANGE_SECONDS = 0.02
#: How long a poll that fails takes, together with the pause after it.
FAILED_POLL_SECONDS = 3.0


class Network:
    """What is between the processes and Kernel."""

    def __init__(self) -> None:
        #: Called with each request that cancels: the process, and the id of the invocation.
        self.on_cancel: Callable[[Process, str], None] = lambda process, invocation_id: None
        self.reset()

    def reset(self) -> None:
        self._down_from = self._down_until = 0.0
        self._how = ""

    def begin(self, outage: Outage) -> None:
        self._down_from = CLOCK.shared() + outage.after
        self._down_until, self._how = self._down_from + outage.seconds, outage.how

    def is_down(self) -> bool:
        return self._down_from <= CLOCK.shared() < self._down_until

    def was_down_since(self, time: float) -> bool:
        """Return whether an outage had not ended by then; it may only be about to begin."""
        return self._down_until > time

    def wait_until_up(self) -> None:
        CLOCK.sleep(max(0.0, self._down_until - CLOCK.shared()) + 0.1)

    def pass_on(self, client: Any, request: Any) -> None:
        """Let a request through, or raise what its sender gets."""
        process = current()
        _check(process)
        CLOCK.sleep(EXCHANGE_SECONDS)
        if request.method == "PATCH":
            self.on_cancel(process, request.path.rsplit("/", 1)[-1])
        if self.is_down():
            try:
                self._fail(client, request)
            finally:
                if request.method == "PATCH":
                    process.at(ENDING)
                _check(process)

    def _fail(self, client: Any, request: Any) -> None:
        if isinstance(request, Poll):
            CLOCK.sleep(FAILED_POLL_SECONDS)
        if self._how == "refused":
            raise KernelConnectionError("refused", sent=False, problem=ConnectionProblem.REFUSED)
        if self._how == "dropped":
            raise KernelConnectionError("dropped")
        if self._how == "hangs":
            CLOCK.sleep(client.config.read_timeout)
            raise KernelTimeoutError("no answer")
        # The shared poller of a triggerer would pause by the real clock.
        headers = {"retry-after": "7"} if self._how == "503" and not isinstance(request, Poll) else {}
        request.receive(Response(int(self._how), headers, b'{"code": "internal_error", "message": "down"}'))

    def arrived(self, request: Any) -> None:
        """Let an answer come to its process."""
        process = current()
        if request.method == "POST" and request.path == "/invocations":
            process.at(IN_FLIGHT)
        _check(process)


def _check(process: Process) -> None:
    if process.is_dead():
        raise KernelConnectionError("the process is dead", sent=False)


NETWORK = Network()


def install(patch: pytest.MonkeyPatch) -> None:
    """Let every exchange of the clients go over the network."""
    exchange, aexchange = KernelClient._exchange, AsyncKernelClient._exchange

    def exchange_over_network(client: Any, request: Any) -> Any:
        NETWORK.pass_on(client, request)
        answer = exchange(client, request)
        NETWORK.arrived(request)
        return answer

    async def aexchange_over_network(client: Any, request: Any) -> Any:
        NETWORK.pass_on(client, request)
        return await aexchange(client, request)

    patch.setattr(KernelClient, "_exchange", exchange_over_network)
    patch.setattr(AsyncKernelClient, "_exchange", aexchange_over_network)
