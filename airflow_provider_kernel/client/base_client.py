"""What does not differ between the two clients: everything but sending and sleeping."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from airflow_provider_kernel.client import flow as flows
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.errors import KernelError
from airflow_provider_kernel.client.flow import EventStream, Flow
from airflow_provider_kernel.client.http.deadline import Deadline
from airflow_provider_kernel.client.http.request import Request
from airflow_provider_kernel.client.http.response_body import ContentDecoder
from airflow_provider_kernel.client.http.transport import Transport
from airflow_provider_kernel.client.redaction import register_key
from airflow_provider_kernel.client.safe_logger import SafeLogger
from airflow_provider_kernel.client.unpicklable import HoldsKey

T = TypeVar("T")
E = TypeVar("E")


class BaseClient(HoldsKey):
    """
    Settings, and what builds requests with them.

    The key may be replaced while a client is used. The first request that Kernel refuses then has the connection
    read anew, and is sent again with the new key; the other clients of the process take that over.
    """

    _sleep: Callable[..., Any]

    def __init__(
        self,
        config: KernelConfig,
        trace: Callable[..., Any] | None,
        logger: logging.Logger | SafeLogger | None,
    ) -> None:
        self._trace = trace
        self._newest_transport = Transport(config, trace)
        self.logger = logger if logger is None else SafeLogger.of(logger)
        register_key(config.api_key)

    @property
    def config(self) -> KernelConfig:
        """The settings, with the key that is used at present."""
        return self._newest_transport.config

    def __copy__(self) -> Any:
        """Return a client with the same settings and with connections of its own."""
        make: Any = type(self)
        return make(self.config, sleep=self._sleep, logger=self.logger)

    def __deepcopy__(self, memo: dict[int, object]) -> Any:
        return self.__copy__()

    def _transport(self) -> Transport:
        """Return what builds requests, with the newest key that is known."""
        config = self._newest_transport.config.renewed()
        if config is not self._newest_transport.config:
            # In one step: other threads send meanwhile.
            self._newest_transport = Transport(config, self._trace)
        return self._newest_transport

    def _is_refusal(self, error: KernelError) -> bool:
        return error.refuses_key and self.config.source is not None

    def _knows_newer(self, refused: Transport) -> bool:
        return refused.config.renewed() is not refused.config

    def _can_send_again(self, refused: Transport) -> bool:
        """Whether another key is known than the refused one. A refused request was not taken, whatever it is."""
        if not self._knows_newer(refused):
            return False
        if self.logger is not None and self._newest_transport is refused:
            self.logger.info("Kernel refuses the key, but the connection has been changed: going on with that")
        return True

    def _with_retries(self, request: Request[T]) -> Flow[T]:
        return flows.with_retries(request, self.config.retry, logger=self.logger)

    def _deadline(self, request: Request[Any]) -> Deadline:
        read_timeout = max(self.config.read_timeout, request.read_timeout)
        return Deadline.of_exchange(self.config.connect_timeout, read_timeout)

    def _event_decoder(self, stream: EventStream[E], headers: Mapping[str, str]) -> Callable[[bytes], Iterator[E]]:
        from airflow_provider_kernel.client.http.sse import SSEDecoder

        content, events = ContentDecoder(headers.get("content-encoding", "")), SSEDecoder(stream.idle_timeout)

        def feed(chunk: bytes) -> Iterator[E]:
            for part in content.feed(chunk):
                stream.is_alive = True
                for data in events.feed(part):
                    yield stream.request.parse_event(data)

        return feed
