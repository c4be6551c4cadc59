"""
The two clients: the only places that talk to the network, and the only ones that know httpx.

What to send, what an answer means and whether to try again is decided elsewhere, once for both.
"""

from __future__ import annotations

import asyncio
import functools
import http.cookiejar
import logging
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, TypeVar

import httpx
from tenacity import AsyncRetrying, Retrying

from airflow_provider_kernel.api import deadline, requests
from airflow_provider_kernel.api.accounting import accounted
from airflow_provider_kernel.api.body import ENCODINGS, BoundedBody, Decoder
from airflow_provider_kernel.api.config import KernelConfig
from airflow_provider_kernel.api.deadline import Deadline
from airflow_provider_kernel.api.diagnosis import diagnose
from airflow_provider_kernel.api.errors import (
    KernelConfigurationError,
    KernelConnectionError,
    KernelError,
    KernelResponseError,
    KernelTimeoutError,
)
from airflow_provider_kernel.api.events import EventFollower, parse_event
from airflow_provider_kernel.api.flows import Flow, Pause
from airflow_provider_kernel.api.foreign_text import one_line, shown
from airflow_provider_kernel.api.masking import MASK, mask_body, mask_text, masked
from airflow_provider_kernel.api.models import Event, LogLine, Page, StreamError
from airflow_provider_kernel.api.requests import Request
from airflow_provider_kernel.api.responses import Response, is_event_stream, nothing, read
from airflow_provider_kernel.api.silence import keep_out_of_the_log, silence
from airflow_provider_kernel.api.slots import Slots
from airflow_provider_kernel.api.sse import EventReader

T = TypeVar("T")

log = logging.getLogger(__name__)

#: So many requests at once go out from one event loop, beside the streams: a pool slows down with the square, and
#: worse, of its connections.
_REQUESTS_AT_ONCE = 25
#: Shorter than a load balancer's usual 60 s, so that an idle connection is dropped by us and not under us.
_KEEPALIVE_SECONDS = 30.0


@functools.lru_cache(maxsize=8)
def _tls_context(verify: bool | str) -> ssl.SSLContext:
    # Loading the certificates takes longer than a whole request: once per process.
    try:
        if isinstance(verify, str):
            return ssl.create_default_context(cafile=verify)
        return httpx.create_ssl_context(verify=verify)
    except (OSError, ValueError) as error:
        raise KernelConfigurationError(
            f"verify_tls is {shown(verify)}; it takes true, false, or the path of a readable CA bundle: "
            f"{one_line(str(error), 100)}"
        ) from None


def _check_host(base_url: str) -> None:
    try:
        _ = httpx.URL(base_url).host
    except (httpx.InvalidURL, UnicodeError) as error:
        raise KernelConfigurationError(
            f"The host of {shown(base_url)} is no host name: {one_line(str(error), 100)}"
        ) from None


class _BaseClient:
    """What the two clients share: everything but sending and waiting."""

    def __init__(self, config: KernelConfig, *, logger: logging.Logger | None = log) -> None:
        self.config = config
        self._logger = logger
        keep_out_of_the_log(config.api_key)

    def _options(self) -> dict[str, Any]:
        config = self.config
        _check_host(config.base_url)
        return {
            "base_url": config.base_url,
            "headers": {"Accept-Encoding": ENCODINGS, **config.headers()},
            # No cookies: nothing of the API needs them, and a server could fill the memory with them.
            "cookies": http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=())),
            "timeout": httpx.Timeout(config.read_timeout, connect=config.connect_timeout),
            "limits": httpx.Limits(keepalive_expiry=_KEEPALIVE_SECONDS),
            "verify": _tls_context(config.verify_tls),
            "follow_redirects": False,
        }

    def _retrying(self, request: Request[Any]) -> dict[str, Any]:
        return self.config.retry.tenacity(request.resend, asked=str(request), logger=self._logger)

    def _deadline(self) -> Deadline:
        """Begin the time that an exchange may take: to connect, to wait for the answer, and to read it."""
        return Deadline(self.config.connect_timeout + 2 * self.config.read_timeout)

    def _build(
        self, client: httpx.Client | httpx.AsyncClient, request: Request[Any], *, silence: float | None = None
    ) -> httpx.Request:
        """Build what httpx sends; an event stream may be silent for so many seconds."""
        config = self.config
        headers = {"Content-Type": "application/json"} if request.body is not None else {}
        timeout = httpx.Timeout(config.read_timeout, connect=config.connect_timeout)
        if silence is not None:
            headers |= {"Accept": "text/event-stream", "Accept-Encoding": "identity", "Cache-Control": "no-store"}
            timeout.read = silence
        return client.build_request(
            request.method,
            request.path,
            params=request.query or None,
            content=request.body,
            headers=headers,
            timeout=timeout,
            extensions={"trace": deadline.trace if isinstance(client, httpx.Client) else deadline.atrace},
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn httpx's errors into ours, without the key."""
        with masked(self.config.api_key), _own_errors():
            yield


class KernelClient(_BaseClient):
    """
    A client of the Kernel API for threads.

    Keep one and close it: it reuses its connections. Whatever goes wrong with a request is a
    :class:`~airflow_provider_kernel.api.errors.KernelError`.

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
        super().__init__(config, logger=logger)
        self._sleep = sleep
        with silence(logger is None):
            self._http = httpx.Client(**self._options(), event_hooks={"response": [_refuse_redirect]})

    def send(self, request: Request[T]) -> T:
        """
        Send a request, again where its rule and the policy allow it.

        :param request: what to ask.
        :return: the parsed answer.
        :raises KernelError: when no attempt brought one; it tells what was asked and how often.
        """
        retrying = Retrying(sleep=self._sleep, **self._retrying(request))
        with silence(self._logger is None), accounted(request, retrying):
            answer: T = retrying(self._exchange, request)
            return answer

    def run(self, flow: Flow[T], *, sleep: Callable[[float], None] | None = None) -> T:
        """
        Carry out a flow of several requests and pauses.

        :param flow: one of :mod:`airflow_provider_kernel.api.flows`, or a watch.
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
                if isinstance(step, Pause):
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
            request = requests.next_page(request, page)

    def events(self, request: Request[None], *, silence: float) -> Iterator[Event]:
        """
        Read an event stream to its end, which may come early.

        :param request: what ``follow_invocation`` built.
        :param silence: seconds without a sign of life after which the stream counts as dead.
        :return: the events as they come.
        :raises KernelError: when the stream cannot be had, or breaks.
        """
        with accounted(request), self._errors():
            limit = self._deadline()
            with deadline.within(limit):
                answer = self._http.send(self._build(self._http, request, silence=silence), stream=True)
            try:
                headers = _headers(answer)
                if not is_event_stream(answer.status_code, headers):
                    body = BoundedBody(headers, limit).collect(answer.iter_raw())
                    raise _no_stream(request, answer, body)
                decoder, reader = Decoder(headers.get("content-encoding", "")), EventReader(silence)
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

    def _exchange(self, request: Request[T]) -> T:
        limit = self._deadline()
        with self._errors():
            with deadline.within(limit):
                answer = self._http.send(self._build(self._http, request), stream=True)
                try:
                    body = BoundedBody(_headers(answer), limit).collect(answer.iter_raw())
                finally:
                    answer.close()
            return request.receive(_response(answer, body))


class AsyncKernelClient(_BaseClient):
    """
    A client of the Kernel API for one event loop.

    Keep one for each loop and close it. Whatever goes wrong with a request is a
    :class:`~airflow_provider_kernel.api.errors.KernelError`.

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
        super().__init__(config, logger=logger)
        self._sleep = sleep
        self._http = self._make_http()
        self._slots = Slots(_REQUESTS_AT_ONCE, config.read_timeout)

    async def send(self, request: Request[T]) -> T:
        """
        Send a request, again where its rule and the policy allow it.

        :param request: what to ask.
        :return: the parsed answer.
        :raises KernelError: when no attempt brought one; it tells what was asked and how often.
        """
        retrying = AsyncRetrying(sleep=self._sleep, **self._retrying(request))
        with silence(self._logger is None), accounted(request, retrying):
            return await retrying(self._exchange, request)

    async def run(self, flow: Flow[T], *, sleep: Callable[[float], Awaitable[None]] | None = None) -> T:
        """
        Carry out a flow of several requests and pauses.

        :param flow: one of :mod:`airflow_provider_kernel.api.flows`, or a watch.
        :param sleep: sleeps its pauses, in place of the client's own.
        :return: its result.
        :raises KernelError: what the flow makes of errors on the way.
        """
        with masked(self.config.api_key):
            return await self._run(flow, sleep or self._sleep)

    async def _run(self, flow: Flow[T], sleep: Callable[[float], Awaitable[None]]) -> T:
        try:
            step = next(flow)
            while True:
                if isinstance(step, Pause):
                    await sleep(step.seconds)
                    step = next(flow)
                    continue
                try:
                    answer = await self.send(step)
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
            request = requests.next_page(request, page)

    async def events(self, request: Request[None], *, silence: float) -> AsyncGenerator[Event, None]:
        """
        Read an event stream to its end, which may come early.

        :param request: what ``follow_invocation`` built.
        :param silence: seconds without a sign of life after which the stream counts as dead.
        :return: the events as they come.
        :raises KernelError: when the stream cannot be had, or breaks.
        """
        with accounted(request), self._errors():
            limit = self._deadline()
            # A pool for each stream, since it holds its connection: a thousand of them in one would slow down all.
            async with self._make_http() as http:
                with deadline.within(limit):
                    answer = await http.send(self._build(http, request, silence=silence), stream=True)
                try:
                    headers = _headers(answer)
                    if not is_event_stream(answer.status_code, headers):
                        body = await BoundedBody(headers, limit).acollect(answer.aiter_raw())
                        raise _no_stream(request, answer, body)
                    decoder, reader = Decoder(headers.get("content-encoding", "")), EventReader(silence)
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

    def _make_http(self) -> httpx.AsyncClient:
        with silence(self._logger is None):
            return httpx.AsyncClient(**self._options(), event_hooks={"response": [_refuse_redirect_async]})

    async def _exchange(self, request: Request[T]) -> T:
        async with self._slots.turn():
            return await self._exchange_now(request)

    async def _exchange_now(self, request: Request[T]) -> T:
        limit = self._deadline()
        with self._errors():
            with deadline.within(limit):
                answer = await self._http.send(self._build(self._http, request), stream=True)
                try:
                    body = await BoundedBody(_headers(answer), limit).acollect(answer.aiter_raw())
                finally:
                    await answer.aclose()
            return request.receive(_response(answer, body))


def _no_stream(request: Request[Any], answer: httpx.Response, body: bytes) -> KernelError:
    """Say what came instead of an event stream."""
    try:
        request.receive(_response(answer, body))
    except KernelError as error:
        return error
    return KernelResponseError(f"{answer.status_code}, but no event stream", status_code=answer.status_code)


def _headers(answer: httpx.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.headers.items()}


def _response(answer: httpx.Response, body: bytes) -> Response:
    # Much of this gets into messages. Masked here, where it is whole: what is cut short may hold a part of the key.
    key = answer.request.headers["Authorization"].removeprefix("Bearer ")
    headers = {name: value.replace(key, MASK) for name, value in _headers(answer).items()}
    body = mask_body(body, key) if answer.status_code < 300 else body.replace(key.encode(), MASK.encode())
    return Response(answer.status_code, headers, body)


def _refuse_redirect(answer: httpx.Response) -> None:
    """Refuse it before httpx reads its target, which may be something that it chokes on."""
    if answer.has_redirect_location:
        read(_response(answer, b""), nothing)


async def _refuse_redirect_async(answer: httpx.Response) -> None:
    _refuse_redirect(answer)


@contextmanager
def _own_errors() -> Iterator[None]:
    """Turn httpx's errors into ours; what the caller must know is whether the request can have been taken."""
    try:
        yield
    except (httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise KernelTimeoutError(f"no connection in time ({type(error).__name__})", sent=False) from error
    except httpx.TimeoutException as error:
        raise KernelTimeoutError(f"no answer in time ({type(error).__name__})") from error
    except (httpx.ConnectError, httpx.ProxyError) as error:
        problem, text = diagnose(error)
        raise KernelConnectionError(text, sent=False, problem=problem) from error
    except (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL) as error:
        # Not str(error): it may quote a header, and with it the key.
        raise KernelConfigurationError(f"the request cannot be sent ({type(error).__name__})") from None
    except httpx.TransportError as error:
        raise KernelConnectionError(
            "the connection was cut before the answer was complete "
            f"({one_line(str(error)) or type(error).__name__})"
        ) from error
    except httpx.DecodingError as error:
        raise KernelResponseError(f"the body cannot be decoded: {error}") from error
