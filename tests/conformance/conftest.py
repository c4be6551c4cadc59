"""
Judges of others: Prism for the client, schemathesis for the emulator.

Not among pytest's own test paths, since Prism needs npm. See ``.ci/run`` for how to install and run them.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager

import httpx
import pytest
from conformance.prism import KERNEL, PATCH, Prism

from airflow_provider_kernel.client.client import AsyncKernelClient, KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.http.request import Request
from airflow_provider_kernel.client.retry import RetryPolicy

KEY = "sk-conformance"
ONCE = RetryPolicy(max_attempts=1)


class Preferring(KernelConfig):
    """A configuration that tells Prism which answer to give."""

    prefer = ""

    def headers(self):
        return {**super().headers(), "Prefer": self.prefer} if self.prefer else super().headers()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(autouse=True)
def any_answer(monkeypatch):
    # Prism answers with its examples, whatever the request is about.
    monkeypatch.setattr(Request, "check", lambda request, answer: None)


@pytest.fixture(scope="session")
def prism():
    """Prism with the whole description."""
    with serving(KERNEL) as server:
        yield server


@pytest.fixture(scope="session")
def prism_of_the_excerpt():
    """Prism with the official excerpt, which has PATCH only."""
    with serving(PATCH) as server:
        yield server


@contextmanager
def serving(description):
    """Run Prism, and take note of all that it says of requests, whichever client of whichever part sends them."""
    server = Prism(description)
    send, asend = httpx.HTTPTransport.handle_request, httpx.AsyncHTTPTransport.handle_async_request

    def noting(transport, request):
        answer = send(transport, request)
        server.note(request, answer)
        return answer

    async def anoting(transport, request):
        answer = await asend(transport, request)
        server.note(request, answer)
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx.HTTPTransport, "handle_request", noting)
        patch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", anoting)
        yield server
    server.stop()


def follows(request, prefer):
    # Prism gives an error, which is JSON, only to who says that JSON will do: that is asked for as all else is.
    return request.path.endswith("/events") and "code=200" in (prefer or "code=200")


@pytest.fixture(params=["sync", "async"])
def send(request):
    """Send a request with either client: ``send(server, request, prefer="code=404")``."""
    loop = asyncio.new_event_loop() if request.param == "async" else None

    def send(server, request, prefer=""):
        config = Preferring(KEY, server.base_url, retry=ONCE)
        object.__setattr__(config, "prefer", prefer)
        if loop is None:
            with KernelClient(config) as client:
                if follows(request, prefer):
                    return list(client.events(request, idle_timeout=5))
                return client.send(request)

        async def asend():
            async with AsyncKernelClient(config) as client:
                if follows(request, prefer):
                    return [event async for event in client.events(request, idle_timeout=5)]
                return await client.send(request)

        return loop.run_until_complete(asend())

    yield send
    if loop is not None:
        loop.close()
