"""
The two drivers of flows, one for threads and one for an event loop. They send one attempt, sleep, and read a
stream.

What to send, what an answer means and whether to send again is decided in flows, once for both.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_kernel.client import flow as flows
from airflow_provider_kernel.client.base_client import BaseClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.errors import KernelError
from airflow_provider_kernel.client.flow import EventStream, Flow, Follower, Sleep, Stream
from airflow_provider_kernel.client.http import deadline
from airflow_provider_kernel.client.http.answer import aclosing, aread_answer, closing, read_answer
from airflow_provider_kernel.client.http.concurrency import RequestLimiter
from airflow_provider_kernel.client.http.log_filter import suppress_logs
from airflow_provider_kernel.client.http.pagination import Page
from airflow_provider_kernel.client.http.request import Request
from airflow_provider_kernel.client.http.response import is_event_stream
from airflow_provider_kernel.client.http.transport import (
    AsyncHttpClient,
    HttpClient,
    Transport,
    achunks_of,
    chunks_of,
    headers_of,
)
from airflow_provider_kernel.client.per_process import PerProcess
from airflow_provider_kernel.client.safe_logger import SafeLogger, get_logger

if TYPE_CHECKING:
    from airflow_provider_kernel.client.http.sse import StreamRequest

T = TypeVar("T")
E = TypeVar("E")

log = get_logger(__name__)


class KernelClient(BaseClient):
    """
    A client of the Kernel API for threads.

    Keep one and close it: it reuses its connections. A process that is forked from the one that made it may use it,
    too, with connections of its own. A request that fails raises a
    :class:`~airflow_provider_kernel.client.errors.KernelError`.

    :param sleep: sleeps between attempts, in seconds; replace it to make it end early.
    :param logger: gets a warning before each further attempt; ``None`` for a client that must not log.
    """

    def __init__(
        self,
        config: KernelConfig,
        *,
        sleep: Callable[[float], None] = time.sleep,
        logger: logging.Logger | SafeLogger | None = log,
    ) -> None:
        super().__init__(config, deadline.trace, logger)
        self._sleep = sleep
        self._http_clients = PerProcess(self._open_http)
        _ = self._http  # raises at once for what cannot work

    def send(self, request: Request[T]) -> T:
        """
        Send a request, again where its rule and the policy allow it.

        :raises KernelError: the error of the last attempt; it names the request and the number of attempts.
        """
        with suppress_logs(self.logger is None):
            return _drive(self._with_retries(request), self._exchange, self._sleep)

    def run(self, flow: Flow[T], *, sleep: Callable[[float], None] | None = None) -> T:
        """
        Carry out a flow.

        :param sleep: sleeps the flow's own pauses, in place of the client's.
        :raises KernelError: as the flow decides.
        """
        return _drive(flow, self.send, sleep or self._sleep)

    def stream(self, stream: Stream[T]) -> Iterator[T]:
        """
        Carry out a stream; it goes on as its items are read.

        :raises KernelError: as the stream decides.
        """
        reading: EventStream[Any] | None = None
        events: Generator[Any, None, None] | None = None

        def answer(step: Request[Any] | EventStream[Any]) -> Any:
            nonlocal reading, events
            if isinstance(step, Request):
                return self.send(step)
            if events is None or step is not reading:
                reading, events = step, self._read(step)
            return next(events, None)

        try:
            while (items := _drive(flows.next_items(stream), answer, self._sleep)) is not None:
                yield from items
        finally:
            if events is not None:
                events.close()

    def pages(self, first: Request[Page[T]], *, snapshot: bool = False) -> Iterator[T]:
        """
        Give the rows of a list; each page is fetched only when its rows are needed.

        :param snapshot: fetch the whole list before the first row, so that what it gives may be ended meanwhile.
        """
        return self.stream(flows.list_rows(first, snapshot=snapshot))

    def events(self, request: StreamRequest[E], *, idle_timeout: float) -> Iterator[E]:
        """
        Read an event stream to its end, which may come early.

        :param idle_timeout: seconds without a sign of life after which the stream counts as dead.
        :raises KernelError: when the stream cannot be opened, or breaks.
        """
        return self.stream(flows.read_events(request, idle_timeout=idle_timeout))

    def follow(self, follower: Follower[E, T]) -> Iterator[T]:
        """
        Follow an event stream through cuts, until its end or until it is gone for good.

        :param follower: decides when to reconnect and which items are new; knows afterwards how it ended.
        :return: the new items, each once.
        """
        return self.stream(flows.follow(follower))

    def close(self) -> None:
        """Close the connections. The client cannot be used afterwards."""
        self._http.close()

    def __enter__(self) -> KernelClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _http(self) -> HttpClient:
        return self._http_clients.get()

    def _open_http(self) -> HttpClient:
        with suppress_logs(self.logger is None):
            return self._newest_transport.client()

    def _exchange(self, request: Request[T]) -> T:
        transport = self._transport()
        try:
            return self._send_by(transport, request)
        except KernelError as error:
            if not self._renew(transport, error):
                raise
        return self._send_by(self._transport(), request)

    def _renew(self, refused: Transport, error: KernelError) -> bool:
        """Read the connection anew if the key was refused, and return whether it has another one by now."""
        if not self._is_refusal(error):
            return False
        source = refused.config.source
        if source is not None and not self._knows_newer(refused):
            source.renew(refused.config.read_timeout)
        return self._can_send_again(refused)

    def _send_by(self, transport: Transport, request: Request[T]) -> T:
        limit = self._deadline(request)
        with transport.errors():
            with deadline.within(limit):
                answer = self._http.send(transport.build(request), stream=True)
            with closing(answer):
                return read_answer(answer, limit, request.receive)

    def _read(self, stream: EventStream[E]) -> Generator[E, None, None]:
        transport = self._transport()
        try:
            yield from self._read_by(transport, stream)
        except KernelError as error:
            if not self._renew(transport, error):
                raise
            yield from self._read_by(self._transport(), stream)

    def _read_by(self, transport: Transport, stream: EventStream[E]) -> Generator[E, None, None]:
        limit = self._deadline(stream.request)
        with transport.errors():
            with deadline.within(limit):
                built = transport.build(stream.request, idle_timeout=stream.idle_timeout)
                answer = self._http.send(built, stream=True)
            with closing(answer):
                headers = headers_of(answer)
                if not is_event_stream(answer.status_code, headers):
                    raise read_answer(answer, limit, stream.request.refuse)
                decode = self._event_decoder(stream, headers)
                for chunk in chunks_of(answer):
                    yield from decode(chunk)


class AsyncKernelClient(BaseClient):
    """A client of the Kernel API for one event loop, like :class:`KernelClient`. Keep one for each loop."""

    def __init__(
        self,
        config: KernelConfig,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        logger: logging.Logger | SafeLogger | None = log,
    ) -> None:
        super().__init__(config, None, logger)
        self._sleep = sleep
        self._http_clients = PerProcess(self._open_http)
        _ = self._http  # raises at once for what cannot work
        self._limiters = PerProcess(lambda: RequestLimiter(config.read_timeout))

    async def send(self, request: Request[T]) -> T:
        """Do what :meth:`KernelClient.send` does, in an event loop."""
        with suppress_logs(self.logger is None):
            return await _adrive(self._with_retries(request), self._exchange, self._sleep)

    async def run(
        self,
        flow: Flow[T],
        *,
        sleep: Callable[[float], Awaitable[None]] | None = None,
        send: Callable[[Request[Any]], Awaitable[Any]] | None = None,
    ) -> T:
        """
        Do what :meth:`KernelClient.run` does, in an event loop.

        :param send: sends its requests, or answers them from elsewhere, in place of :meth:`send`.
        """
        return await _adrive(flow, send or self.send, sleep or self._sleep)

    async def stream(
        self, stream: Stream[T], *, sleep: Callable[[float], Awaitable[None]] | None = None
    ) -> AsyncGenerator[T, None]:
        """
        Do what :meth:`KernelClient.stream` does, in an event loop.

        :param sleep: sleeps the stream's own pauses, in place of the client's.
        """
        reading: EventStream[Any] | None = None
        events: AsyncGenerator[Any, None] | None = None

        async def answer(step: Request[Any] | EventStream[Any]) -> Any:
            nonlocal reading, events
            if isinstance(step, Request):
                return await self.send(step)
            if events is None or step is not reading:
                reading, events = step, self._read(step)
            return await anext(events, None)

        try:
            while (items := await _adrive(flows.next_items(stream), answer, sleep or self._sleep)) is not None:
                for item in items:
                    yield item
        finally:
            # Not left to the garbage collection, until which it would keep its connection.
            if events is not None:
                await events.aclose()

    def pages(self, first: Request[Page[T]], *, snapshot: bool = False) -> AsyncGenerator[T, None]:
        """Do what :meth:`KernelClient.pages` does, in an event loop."""
        return self.stream(flows.list_rows(first, snapshot=snapshot))

    def events(self, request: StreamRequest[E], *, idle_timeout: float) -> AsyncGenerator[E, None]:
        """Do what :meth:`KernelClient.events` does, in an event loop."""
        return self.stream(flows.read_events(request, idle_timeout=idle_timeout))

    def follow(
        self, follower: Follower[E, T], *, sleep: Callable[[float], Awaitable[None]] | None = None
    ) -> AsyncGenerator[T, None]:
        """Do what :meth:`KernelClient.follow` does, in an event loop; ``sleep`` as for :meth:`stream`."""
        return self.stream(flows.follow(follower), sleep=sleep)

    async def close(self) -> None:
        """Close the connections. The client cannot be used afterwards."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncKernelClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def _http(self) -> AsyncHttpClient:
        return self._http_clients.get()

    def _open_http(self) -> AsyncHttpClient:
        with suppress_logs(self.logger is None):
            return self._newest_transport.async_client()

    async def _exchange(self, request: Request[T]) -> T:
        transport = self._transport()
        try:
            return await self._send_by(transport, request)
        except KernelError as error:
            if not await self._renew(transport, error):
                raise
        return await self._send_by(self._transport(), request)

    async def _renew(self, refused: Transport, error: KernelError) -> bool:
        if not self._is_refusal(error):
            return False
        source = refused.config.source
        if source is not None and not self._knows_newer(refused):
            await source.arenew(refused.config.read_timeout)
        return self._can_send_again(refused)

    async def _send_by(self, transport: Transport, request: Request[T]) -> T:
        async with self._limiters.get().slot():
            limit = self._deadline(request)
            with transport.errors():
                with limit.cancel_after():
                    answer = await self._http.send(transport.build(request), stream=True)
                async with aclosing(answer):
                    return await aread_answer(answer, limit, request.receive)

    async def _read(self, stream: EventStream[E]) -> AsyncGenerator[E, None]:
        transport = self._transport()
        try:
            async with contextlib.aclosing(self._read_by(transport, stream)) as events:
                async for event in events:
                    yield event
        except KernelError as error:
            if not await self._renew(transport, error):
                raise
            async with contextlib.aclosing(self._read_by(self._transport(), stream)) as events:
                async for event in events:
                    yield event

    async def _read_by(self, transport: Transport, stream: EventStream[E]) -> AsyncGenerator[E, None]:
        limit = self._deadline(stream.request)
        # A connection pool for each stream: httpcore's pool slows down with each connection that is in use.
        with transport.errors():
            async with self._open_http() as http:
                with limit.cancel_after():
                    built = transport.build(stream.request, idle_timeout=stream.idle_timeout)
                    answer = await http.send(built, stream=True)
                async with aclosing(answer):
                    headers = headers_of(answer)
                    if not is_event_stream(answer.status_code, headers):
                        raise await aread_answer(answer, limit, stream.request.refuse)
                    decode = self._event_decoder(stream, headers)
                    async for chunk in achunks_of(answer):
                        for event in decode(chunk):
                            yield event


def _drive(flow: Generator[Any, Any, T], answer: Callable[[Any], Any], sleep: Callable[[float], None]) -> T:
    try:
        step = next(flow)
        while True:
            try:
                if isinstance(step, Sleep):
                    sleep(step.seconds)
                    sent = None
                else:
                    sent = answer(step)
            except KernelError as error:
                step = flow.throw(error)
            else:
                step = flow.send(sent)
    except StopIteration as end:
        result: T = end.value
        return result


async def _adrive(
    flow: Generator[Any, Any, T],
    answer: Callable[[Any], Awaitable[Any]],
    sleep: Callable[[float], Awaitable[None]],
) -> T:
    try:
        step = next(flow)
        while True:
            try:
                if isinstance(step, Sleep):
                    await sleep(step.seconds)
                    sent = None
                else:
                    sent = await answer(step)
            except KernelError as error:
                step = flow.throw(error)
            else:
                step = flow.send(sent)
    except StopIteration as end:
        result: T = end.value
        return result
