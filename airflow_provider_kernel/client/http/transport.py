"""
The only module that imports httpx: it builds httpx's clients and requests, and reads its answers and errors.

httpx merges four layers of defaults into each request, and looks for cookies. Here, the parts that are the same
for all requests are built once.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import httpx

from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.destination import ConnectionProblem, Destination
from airflow_provider_kernel.client.errors import (
    KernelConfigurationError,
    KernelConnectionError,
    KernelError,
    KernelResponseError,
    KernelTimeoutError,
)
from airflow_provider_kernel.client.http.connect import ConnectBackend
from airflow_provider_kernel.client.http.connect_errors import classify_connect_error
from airflow_provider_kernel.client.http.environment import (
    advice_of_tls_proxy,
    certificates_refused,
    check_certificates,
    check_proxies,
    proxies_refused,
)
from airflow_provider_kernel.client.http.request import JSON, Request
from airflow_provider_kernel.client.http.response import Response, nothing, read
from airflow_provider_kernel.client.http.response_body import ACCEPTED_ENCODING
from airflow_provider_kernel.client.sanitize import escape_untrusted, sanitize_line, short_repr

#: Shorter than a load balancer's usual 60 s, so that this side closes an idle connection first.
_KEEPALIVE_SECONDS = 30.0
_STREAM_HEADERS = {"Accept": "text/event-stream", "Accept-Encoding": "identity", "Cache-Control": "no-store"}


#: An answer of httpx.
HttpAnswer = httpx.Response


class _NoCookies(httpx.Cookies):
    """Keeps none: the API needs no cookies, and a server could fill the memory with them."""

    def extract_cookies(self, response: httpx.Response) -> None:
        pass


class HttpClient(httpx.Client):
    cookies = _NoCookies()  # type: ignore[override]


class AsyncHttpClient(httpx.AsyncClient):
    cookies = _NoCookies()  # type: ignore[override]


class Transport:
    """
    Builds httpx's clients and requests, and turns its answers and errors into ours.

    :param trace: httpcore's extension of this name; see :mod:`airflow_provider_kernel.client.http.deadline`.
    """

    def __init__(self, config: KernelConfig, trace: Callable[[str, dict[str, Any]], Any] | None) -> None:
        self.config = config
        source = config.source
        self._destination = Destination(config.base_url, None if source is None else source.label)
        try:
            _ = httpx.URL(config.base_url).host
        except (httpx.InvalidURL, UnicodeError) as error:
            raise KernelConfigurationError(
                f"The host of {short_repr(config.base_url)} is no host name: {sanitize_line(str(error), 100)}"
            ) from None
        headers = {"Accept-Encoding": ACCEPTED_ENCODING, "Connection": "keep-alive", **config.headers()}
        self._headers = httpx.Headers(headers)
        self._headers_with_body = httpx.Headers({**headers, "Content-Type": JSON})
        self._headers_of_stream = httpx.Headers({**headers, **_STREAM_HEADERS})
        self._timeout = httpx.Timeout(config.read_timeout, connect=config.connect_timeout).as_dict()
        self._extensions = {} if trace is None else {"trace": trace}

    def client(self) -> HttpClient:
        with self._naming(), _usable_proxies():
            client = HttpClient(**self._options(), event_hooks={"response": [_refuse_redirect]})
        for transport in (client._transport, *client._mounts.values()):
            if isinstance(transport, httpx.HTTPTransport):
                # httpx has no setting for it, httpcore has.
                transport._pool._network_backend = ConnectBackend()
        return client

    def async_client(self) -> AsyncHttpClient:
        with self._naming(), _usable_proxies():
            return AsyncHttpClient(**self._options(), event_hooks={"response": [_refuse_redirect_async]})

    def _options(self) -> dict[str, Any]:
        return {
            "auth": httpx.Auth(),  # none beside our header
            "limits": httpx.Limits(keepalive_expiry=_KEEPALIVE_SECONDS),
            "verify": self._tls_context(),
            "follow_redirects": False,
        }

    def _tls_context(self) -> ssl.SSLContext:
        if self.config.base_url.startswith("http://") and self.config.verify_tls is True:
            return _no_tls_context()
        return _tls_context(self.config.verify_tls)

    def build(self, request: Request[Any], *, idle_timeout: float | None = None) -> httpx.Request:
        """Build what httpx sends; with ``idle_timeout``, in seconds, the request for an event stream."""
        headers = self._headers if request.body is None else self._headers_with_body
        if request.content_type != JSON or request.accept != JSON:
            headers = headers.copy()
            if request.body is not None:
                headers["Content-Type"] = request.content_type
            headers["Accept"] = JSON if request.accept == JSON else f"{request.accept}, {JSON};q=0.9"
        timeout = self._timeout
        if request.read_timeout > self.config.read_timeout:
            timeout = {**timeout, "read": request.read_timeout}
        if idle_timeout is not None:
            headers = self._headers_of_stream
            timeout = {**timeout, "read": idle_timeout}
        return httpx.Request(
            request.method,
            self.config.base_url + request.path,
            params=request.query or None,
            content=request.body,
            headers=headers,
            extensions={"timeout": timeout, **self._extensions},
        )

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn httpx's errors into ours, without the key, and name the host and the connection in them."""
        with self._naming(), _harmless_causes(), own_errors():
            yield

    @contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except KernelError as error:
            if isinstance(error, KernelConnectionError) and error.problem in (
                ConnectionProblem.NO_TLS,
                ConnectionProblem.HANDSHAKE,
            ):
                error.advice = advice_of_tls_proxy(self.config.base_url) or error.advice
            error.sent_to(self._destination)
            raise


@functools.lru_cache(maxsize=1)
def _no_tls_context() -> ssl.SSLContext:
    """Make a context without certificates, which refuses every server: loading them takes a while."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@functools.lru_cache(maxsize=8)
def _tls_context(verify: bool | str) -> ssl.SSLContext:
    # Loading the certificates takes longer than a whole request: once per process.
    if verify is True:
        check_certificates()
    try:
        if isinstance(verify, str):
            return ssl.create_default_context(cafile=verify)
        return httpx.create_ssl_context(verify=verify)
    except (OSError, ValueError) as error:
        raise certificates_refused(verify, error) from None


@contextmanager
def _usable_proxies() -> Iterator[None]:
    check_proxies()
    try:
        yield
    except KernelError:
        raise
    except (ImportError, ValueError, httpx.InvalidURL):
        # Without the cause: it may quote a proxy's password.
        raise proxies_refused() from None


def headers_of(answer: httpx.Response) -> dict[str, str]:
    """Read the headers of an answer, with names in lower case."""
    return {name.lower(): value for name, value in answer.headers.items()}


def chunks_of(answer: HttpAnswer) -> Iterator[bytes]:
    """
    Give the body as it comes over the wire.

    Not ``iter_raw()``, at whose end the connection is given back before it can be checked.
    """
    return iter(cast("httpx.SyncByteStream", answer.stream))


def achunks_of(answer: HttpAnswer) -> AsyncIterator[bytes]:
    """Do what :func:`chunks_of` does, in an event loop."""
    return aiter(cast("httpx.AsyncByteStream", answer.stream))


def response_of(answer: httpx.Response, headers: dict[str, str], body: bytes) -> Response:
    """Turn httpx's answer into a response."""
    return Response(answer.status_code, headers, body)


def _refuse_redirect(answer: httpx.Response) -> None:
    """Refuse a redirect before httpx parses its target, which may be malformed."""
    if answer.has_redirect_location:
        read(response_of(answer, headers_of(answer), b""), nothing)


async def _refuse_redirect_async(answer: httpx.Response) -> None:
    _refuse_redirect(answer)


@contextmanager
def _harmless_causes() -> Iterator[None]:
    """Drop a cause that would show the key or foreign text in a traceback. The message says what happened."""
    try:
        yield
    except KernelError as error:
        cause = error.__cause__
        if cause is not None and not isinstance(cause, KernelError):
            texts = _all_texts(cause)
            if escape_untrusted(texts) != texts:
                error.__cause__ = None
                error.__suppress_context__ = True
        raise


def _all_texts(error: BaseException | None) -> str:
    texts: list[str] = []
    while error is not None and len(texts) < 20:
        texts.append(f"{error} {error!r}")
        error = error.__cause__ or error.__context__
    return " ".join(texts)


@contextmanager
def own_errors() -> Iterator[None]:
    """Turn httpx's errors into ours, which say whether the request may have reached the server."""
    try:
        yield
    except (httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise KernelTimeoutError(f"no connection in time ({type(error).__name__})", sent=False) from error
    except httpx.TimeoutException as error:
        raise KernelTimeoutError(f"no answer in time ({type(error).__name__})") from error
    except (httpx.ConnectError, httpx.ProxyError) as error:
        problem, text = classify_connect_error(error)
        raise KernelConnectionError(text, sent=False, problem=problem) from error
    except (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL) as error:
        # Not str(error): it may quote a header, and with it the key.
        raise KernelConfigurationError(f"the request cannot be sent ({type(error).__name__})") from None
    except UnicodeError:
        raise KernelConfigurationError("the name of the host, or of the proxy, cannot be resolved") from None
    except httpx.TransportError as error:
        raise KernelConnectionError(
            "the connection was cut before the answer was complete "
            f"({sanitize_line(str(error)) or type(error).__name__})"
        ) from error
    except httpx.DecodingError as error:
        raise KernelResponseError(f"the body cannot be decoded: {error}") from error
