"""
The two clients: the only places that talk to the network.

What to send, what an answer means and whether to try again is decided elsewhere, once for both.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import Any, TypeVar

from tenacity import AsyncRetrying, Retrying

from airflow_provider_kernel.client.accounting import accounted
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.errors import KernelError, KernelResponseError
from airflow_provider_kernel.client.flow import Flow, Sleep
from airflow_provider_kernel.client.http import deadline
from airflow_provider_kernel.client.http.body import BoundedBody, ContentDecoder
from airflow_provider_kernel.client.http.concurrency import RequestLimiter
from airflow_provider_kernel.client.http.deadline import Deadline
from airflow_provider_kernel.client.http.log_filter import keep_out_of_the_log, silence
from airflow_provider_kernel.client.http.pagination import Page, next_page
from airflow_provider_kernel.client.http.redaction import mask_text, masked
from airflow_provider_kernel.client.http.request import Request
from airflow_provider_kernel.client.http.response import Response, is_event_stream
from airflow_provider_kernel.client.http.sse import SSEDecoder
from airflow_provider_kernel.client.http.transport import AsyncHttpClient, Transport, headers_of, response_of
from airflow_provider_kernel.client.resources.invocations.events import EventFollower, parse_event
from airflow_provider_kernel.client.resources.invocations.models import Event, LogLine, StreamError

T = TypeVar("T")

log = logging.getLogger(__name__)

#: So many requests at once go out from one event loop, beside the streams: a pool slows down with the square, and
#: worse, of its connections.
_REQUESTS_AT_ONCE = 25


class _BaseClient:
    """What the two clients share: everything but sending and waiting."""

    def __init__(self, config: KernelConfig, trace: Callable[..., Any], logger: logging.Logger | None) -> None:
        self.config = config
        self._transport = Transport(config, trace)
        self._logger = logger
        keep_out_of_the_log(config.api_key)

    def _retrying(self, request: Request[Any], started: float) -> dict[str, Any]:
        spent = time.monotonic() - started
        return self.config.retry.tenacity(request.resend, asked=str(request), logger=self._logger, spent=spent)

    def _deadline(self) -> Deadline:
        """Begin the time that an exchange may take: to connect, to wait for the answer, and to read it."""
        return Deadline(self.config.connect_timeout + 2 * self.config.read_timeout)


class KernelClient(_BaseClient):
    """
    A client of the Kernel API for threads.

    Keep one and close it: it reuses its connections. Whatever goes wrong with a request is a
    :class:`~airflow_provider_kernel.client.errors.KernelError`.

    :param config: where the API is, and as whom to call it.
    :param sleep: waits between attempts, in seconds; replace it to make the waiting end early.
    :param logger: told before each further attempt; ``None`` for a client that must not log.
    """

    def __init__(
        self,
        config: KernelConfig,
        *,
        sleep: Callable[[float], None] = time.sleep,
        logger: logging.Logger | None = log,
    ) -> None:
        super().__init__(config, deadline.trace, logger)
        self._sleep = sleep
        with silence(logger is None):
            self._http = self._transport.client()

    def send(self, request: Request[T]) -> T:
        """
        Send a request, again where its rule and the policy allow it.

        :param request: what to ask.
        :return: the parsed answer.
        :raises KernelError: when no attempt brought one; it tells what was asked and how often.
        """
        started = time.monotonic()
        with silence(self._logger is None):
            try:
                return self._exchange(request)
            except KernelError as error:
                made = [error]
            retrying = Retrying(sleep=self._sleep, **self._retrying(request, started))
            with accounted(request, started, retrying):
                answer: T = retrying(self._attempt, request, made)
                return answer

    def run(self, flow: Flow[T], *, sleep: Callable[[float], None] | None = None) -> T:
        """
        Carry out a flow of several requests and pauses.

        :param flow: one of :mod:`airflow_provider_kernel.client.resources.invocations.flows`, or a watch.
        :param sleep: sleeps its pauses, in place of the client's own.
        :return: its result.
        :raises KernelError: what the flow makes of errors on the way.
        """
        with masked(self.config.api_key):
            return self._run(flow, sleep or self._sleep)

    def _run(self, flow: Flow[T], sleep: Callable[[float], None]) -> T:
        try:
            step = next(flow)
            while True:
                if isinstance(step, Sleep):
                    sleep(step.seconds)
                    step = next(flow)
                    continue
                try:
                    answer = self.send(step)
                except KernelError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    def pages(self, first: Request[Page[T]]) -> Iterator[T]:
        """
        Walk through a list, page by page, asking for each only when it is needed.

        :param first: the request for the first page.
        :return: the rows of all pages.
        :raises KernelError: when a page cannot be had.
        """
        request: Request[Page[T]] | None = first
        while request is not None:
            page = self.send(request)
            yield from page.items
            request = next_page(request, page)

    def events(self, request: Request[None], *, silence: float) -> Iterator[Event]:
        """
        Read an event stream to its end, which may come early.

        :param request: what ``follow_invocation`` built.
        :param silence: seconds without a sign of life after which the stream counts as dead.
        :return: the events as they come.
        :raises KernelError: when the stream cannot be had, or breaks.
        """
        with accounted(request, time.monotonic()), self._transport.errors():
            limit = self._deadline()
            with deadline.within(limit):
                answer = self._http.send(self._transport.build(request, silence=silence), stream=True)
            try:
                headers = headers_of(answer)
                if not is_event_stream(answer.status_code, headers):
                    body = BoundedBody(headers, limit).collect(answer.iter_raw())
                    raise _no_stream(request, response_of(answer, headers, body))
                decoder, reader = ContentDecoder(headers.get("content-encoding", "")), SSEDecoder(silence)
                for chunk in answer.iter_raw():
                    for part in decoder.feed(chunk):
                        for data in reader.feed(part):
                            yield parse_event(mask_text(data, self.config.api_key))
            finally:
                answer.close()

    def follow(self, follower: EventFollower) -> Iterator[LogLine | StreamError]:
        """
        Follow an invocation's stream through cuts, until it tells of the end or is gone for good.

        :param follower: decides what to ask for and what to hand on, and tells afterwards how it ended.
        :return: log lines and errors, each once.
        """
        while not follower.is_over():
            try:
                for event in self.events(follower.connect(), silence=follower.silence):
                    yield from follower.accept(event)
                    if follower.is_over():
                        return
                follower.closed()
            except KernelError as error:
                follower.failed(error)
            if not follower.is_over():
                self._sleep(follower.pause)

    def close(self) -> None:
        """Close the connections. The client cannot be used afterwards."""
        self._http.close()

    def __enter__(self) -> KernelClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _attempt(self, request: Request[T], made: list[KernelError]) -> T:
        _tell(made)
        return self._exchange(request)

    def _exchange(self, request: Request[T]) -> T:
        limit = self._deadline()
        with self._transport.errors():
            with deadline.within(limit):
                answer = self._http.send(self._transport.build(request), stream=True)
                try:
                    headers = headers_of(answer)
                    body = BoundedBody(headers, limit).collect(answer.iter_raw())
                finally:
                    answer.close()
            return request.receive(response_of(answer, headers, body))


class AsyncKernelClient(_BaseClient):
    """
    A client of the Kernel API for one event loop.

    Keep one for each loop and close it. Whatever goes wrong with a request is a
    :class:`~airflow_provider_kernel.client.errors.KernelError`.

    :param config: where the API is, and as whom to call it.
    :param sleep: waits between attempts, in seconds.
    :param logger: told before each further attempt; ``None`` for a client that must not log.
    """

    def __init__(
        self,
        config: KernelConfig,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        logger: logging.Logger | None = log,
    ) -> None:
        super().__init__(config, deadline.atrace, logger)
        self._sleep = sleep
        self._http = self._make_http()
        self._slots = RequestLimiter(_REQUESTS_AT_ONCE, config.read_timeout)

    async def send(self, request: Request[T]) -> T:
        """
        Send a request, again where its rule and the policy allow it.

        :param request: what to ask.
        :return: the parsed answer.
        :raises KernelError: when no attempt brought one; it tells what was asked and how often.
        """
        started = time.monotonic()
        with silence(self._logger is None):
            try:
                return await self._exchange(request)
            except KernelError as error:
                made = [error]
            retrying = AsyncRetrying(sleep=self._sleep, **self._retrying(request, started))
            with accounted(request, started, retrying):
                return await retrying(self._attempt, request, made)

    async def run(
        self,
        flow: Flow[T],
        *,
        sleep: Callable[[float], Awaitable[None]] | None = None,
        send: Callable[[Request[Any]], Awaitable[Any]] | None = None,
    ) -> T:
        """
        Carry out a flow of several requests and pauses.

        :param flow: one of :mod:`airflow_provider_kernel.client.resources.invocations.flows`, or a watch.
        :param sleep: sleeps its pauses, in place of the client's own.
        :param send: sends its requests, or knows their answers, in place of :meth:`send`.
        :return: its result.
        :raises KernelError: what the flow makes of errors on the way.
        """
        with masked(self.config.api_key):
            return await self._run(flow, sleep or self._sleep, send or self.send)

    async def _run(
        self,
        flow: Flow[T],
        sleep: Callable[[float], Awaitable[None]],
        send: Callable[[Request[Any]], Awaitable[Any]],
    ) -> T:
        try:
            step = next(flow)
            while True:
                if isinstance(step, Sleep):
                    await sleep(step.seconds)
                    step = next(flow)
                    continue
                try:
                    answer = await send(step)
                except KernelError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    async def pages(self, first: Request[Page[T]]) -> AsyncIterator[T]:
        """
        Walk through a list, page by page, asking for each only when it is needed.

        :param first: the request for the first page.
        :return: the rows of all pages.
        :raises KernelError: when a page cannot be had.
        """
        request: Request[Page[T]] | None = first
        while request is not None:
            page = await self.send(request)
            for item in page.items:
                yield item
            request = next_page(request, page)

    async def events(self, request: Request[None], *, silence: float) -> AsyncGenerator[Event, None]:
        """
        Read an event stream to its end, which may come early.

        :param request: what ``follow_invocation`` built.
        :param silence: seconds without a sign of life after which the stream counts as dead.
        :return: the events as they come.
        :raises KernelError: when the stream cannot be had, or breaks.
        """
        with accounted(request, time.monotonic()), self._transport.errors():
            limit = self._deadline()
            # A pool for each stream, since it holds its connection: a thousand of them in one would slow down all.
            async with self._make_http() as http:
                with deadline.within(limit):
                    answer = await http.send(self._transport.build(request, silence=silence), stream=True)
                try:
                    headers = headers_of(answer)
                    if not is_event_stream(answer.status_code, headers):
                        body = await BoundedBody(headers, limit).acollect(answer.aiter_raw())
                        raise _no_stream(request, response_of(answer, headers, body))
                    decoder, reader = ContentDecoder(headers.get("content-encoding", "")), SSEDecoder(silence)
                    async for chunk in answer.aiter_raw():
                        for part in decoder.feed(chunk):
                            for data in reader.feed(part):
                                yield parse_event(mask_text(data, self.config.api_key))
                finally:
                    await answer.aclose()

    async def follow(self, follower: EventFollower) -> AsyncIterator[LogLine | StreamError]:
        """
        Follow an invocation's stream through cuts, until it tells of the end or is gone for good.

        :param follower: decides what to ask for and what to hand on, and tells afterwards how it ended.
        :return: log lines and errors, each once.
        """
        while not follower.is_over():
            try:
                # Closed at once: one that is merely dropped keeps its connection until the loop comes to it.
                async with aclosing(self.events(follower.connect(), silence=follower.silence)) as events:
                    async for event in events:
                        for news in follower.accept(event):
                            yield news
                        if follower.is_over():
                            return
                follower.closed()
            except KernelError as error:
                follower.failed(error)
            if not follower.is_over():
                await self._sleep(follower.pause)

    async def close(self) -> None:
        """Close the connections. The client cannot be used afterwards."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncKernelClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _make_http(self) -> AsyncHttpClient:
        with silence(self._logger is None):
            return self._transport.async_client()

    async def _attempt(self, request: Request[T], made: list[KernelError]) -> T:
        _tell(made)
        return await self._exchange(request)

    async def _exchange(self, request: Request[T]) -> T:
        async with self._slots.turn():
            return await self._exchange_now(request)

    async def _exchange_now(self, request: Request[T]) -> T:
        limit = self._deadline()
        with self._transport.errors():
            with deadline.within(limit):
                answer = await self._http.send(self._transport.build(request), stream=True)
                try:
                    headers = headers_of(answer)
                    body = await BoundedBody(headers, limit).acollect(answer.aiter_raw())
                finally:
                    await answer.aclose()
            return request.receive(response_of(answer, headers, body))


def _tell(made: list[KernelError]) -> None:
    # Nearly all first attempts succeed and need nothing of tenacity, which takes its time: it hears of the others.
    if made:
        raise made.pop()


def _no_stream(request: Request[Any], response: Response) -> KernelError:
    """Say what came instead of an event stream."""
    try:
        request.receive(response)
    except KernelError as error:
        return error
    return KernelResponseError(f"{response.status_code}, but no event stream", status_code=response.status_code)
