"""
One suite for both clients.

Whoever takes ``connect`` or ``client`` runs twice, once with ``KernelClient`` and once with ``AsyncKernelClient``
behind the same blocking face. No client here ever waits between attempts: it notes for how long it should have.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import ExitStack, aclosing

import pytest

from airflow_provider_kernel.client.client import AsyncKernelClient, KernelClient, log
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.resources.invocations import requests
from airflow_provider_kernel.client.retry import RetryPolicy

#: Waits are only noted, so that they can have any length; these are far below what a server would ask for.
POLICY = RetryPolicy(max_attempts=5, max_seconds=60.0, base_seconds=0.001, cap_seconds=0.005)


class SyncFace:
    """A ``KernelClient`` that notes its waits."""

    def __init__(self, config, logger):
        self.waits = []
        self.on_wait = lambda: None
        self._client = KernelClient(config, sleep=self._wait, logger=logger)

    def send(self, request):
        return self._client.send(request)

    def run(self, flow):
        return self._client.run(flow)

    def pages(self, first, *, rows=None, **options):
        found = []
        for row in self._client.pages(first, **options):
            found.append(row)
            if len(found) == rows:
                break
        return found

    def events(self, request, *, idle_timeout):
        return list(self._client.events(request, idle_timeout=idle_timeout))

    def follow(self, follower):
        return list(self._client.follow(follower))

    def close(self):
        self._client.close()

    def _wait(self, seconds):
        self.waits.append(seconds)
        self.on_wait()


class AsyncFace:
    """An ``AsyncKernelClient`` that notes its waits, driven by the test's own event loop."""

    def __init__(self, config, logger, loop):
        self.waits = []
        self.on_wait = lambda: None
        self.loop = loop
        self._client = AsyncKernelClient(config, sleep=self._wait, logger=logger)

    def send(self, request):
        return self.loop.run_until_complete(self._client.send(request))

    def run(self, flow):
        return self.loop.run_until_complete(self._client.run(flow))

    def pages(self, first, *, rows=None, **options):
        async def collect():
            found = []
            pages = self._client.pages(first, **options)
            async for row in pages:
                found.append(row)
                if len(found) == rows:
                    break
            await pages.aclose()
            return found

        return self.loop.run_until_complete(collect())

    def events(self, request, *, idle_timeout):
        return self._collect(self._client.events(request, idle_timeout=idle_timeout))

    def follow(self, follower):
        return self._collect(self._client.follow(follower))

    def _collect(self, stream):
        async def collect():
            async with aclosing(stream) as events:
                return [event async for event in events]

        return self.loop.run_until_complete(collect())

    def close(self):
        self.loop.run_until_complete(self._client.close())

    def coroutine(self, request):
        return self._client.send(request)

    async def _wait(self, seconds):
        self.waits.append(seconds)
        self.on_wait()
        await asyncio.sleep(0)


class Connect:
    """Makes clients of one kind, and closes them at the end of the test."""

    def __init__(self, kind):
        self.kind = kind
        self._loop = asyncio.new_event_loop() if kind == "async" else None
        self._faces = []

    def __call__(self, server, *, api_key="sk-emulator", logger=log, retry=POLICY, **config):
        """
        Make a client.

        :param server: an emulator, or whatever has a ``base_url``.
        """
        config = KernelConfig(api_key, server.base_url, retry=retry, **{"read_timeout": 10.0, **config})
        face = SyncFace(config, logger) if self._loop is None else AsyncFace(config, logger, self._loop)
        self._faces.append(face)
        return face

    def at_once(self, *sendings):
        """Send several requests at the same time: pairs of client and request, in threads or in one loop."""
        if self._loop is not None:

            async def gather():
                return await asyncio.gather(*(face.coroutine(request) for face, request in sendings))

            return self._loop.run_until_complete(gather())
        answers = {}

        def send(place, face, request):
            answers[place] = face.send(request)

        threads = [threading.Thread(target=send, args=(n, *sending)) for n, sending in enumerate(sendings)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [answers[place] for place in range(len(sendings))]

    def close(self):
        for face in self._faces:
            face.close()
        if self._loop is not None:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    # What these tests count is on loopback, whatever proxy the machine has.
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(params=["sync", "async"])
def connect(request):
    connect = Connect(request.param)
    yield connect
    connect.close()


@pytest.fixture
def client(connect, kernel_emulator):
    return connect(kernel_emulator)


@pytest.fixture
def running(client, kernel_emulator):
    """The id of an invocation that runs until somebody ends it."""
    invocation_id = client.send(requests.create_invocation("demo", "hang")).id
    kernel_emulator.wait_for_status(invocation_id, "running")
    return invocation_id


@pytest.fixture
def nothing_listens(client, kernel_emulator):
    """Call it with a number: connections are refused until the client has waited so many times."""
    with ExitStack() as outage:

        def begin(waits):
            outage.enter_context(kernel_emulator.outage())
            client.on_wait = lambda: len(client.waits) == waits and outage.close()

        yield begin


@pytest.fixture
def sent(kernel_emulator):
    """
    Tell the methods of the requests that were sent, without those of the preparations.

    Call ``sent.from_now()`` when they are done.
    """

    class Sent:
        start = 0

        def from_now(self):
            self.start = len(kernel_emulator.journal)

        def __call__(self):
            return [request.method for request in kernel_emulator.journal[self.start :]]

    return Sent()
