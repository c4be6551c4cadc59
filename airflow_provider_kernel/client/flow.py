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

A stream is a flow that also hands on items as it goes (:class:`Emit`) and may read server-sent events
(:class:`EventStream`); ``KernelClient.stream`` and ``AsyncKernelClient.stream`` carry it out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from tenacity import DoAttempt, DoSleep, RetryCallState, Retrying

from airflow_provider_kernel.client.errors import Attempts, KernelError
from airflow_provider_kernel.client.http.pagination import Page, next_page
from airflow_provider_kernel.client.http.request import Request, StreamRequest
from airflow_provider_kernel.client.retry import RetryPolicy
from airflow_provider_kernel.client.safe_logger import SafeLogger

T = TypeVar("T")
E = TypeVar("E")
ItemT_co = TypeVar("ItemT_co", covariant=True)


@dataclass(frozen=True)
class Sleep:
    """A pause before the next request; the driver may end it early."""

    seconds: float


@dataclass(frozen=True)
class Emit(Generic[ItemT_co]):
    """Items of a stream, for its reader."""

    items: Iterable[ItemT_co]


@dataclass(frozen=True, eq=False)
class EventStream(Generic[E]):
    """
    An event stream. Yielding it reads its next event; the first time, the driver opens it.

    :param idle_timeout: seconds without a sign of life after which the stream counts as dead.
    """

    request: StreamRequest[E]
    idle_timeout: float
    _opened: float = field(default_factory=time.monotonic)

    def next_event(self) -> Generator[EventStream[E], E | None, E | None]:
        """Read the next event, or ``None`` at the end of the stream, which may come early."""
        try:
            return (yield self)
        except KernelError as error:
            _annotate(error, self.request, 1, self._opened)
            raise


Flow = Generator[Request[Any] | Sleep, Any, T]
Stream = Generator[Request[Any] | Sleep | EventStream[Any] | Emit[T], Any, None]


def with_retries(request: Request[T], policy: RetryPolicy, *, logger: SafeLogger | None = None) -> Flow[T]:
    """
    Send a request, again where its rule and the policy allow it: one yield of the request is one attempt.

    :param logger: gets a warning before each further attempt; ``None`` for none.
    :raises KernelError: the error of the last attempt, with the number of attempts.
    """
    retrying = policy.retrying(request.resend, name=str(request), logger=logger)
    began = time.monotonic()
    attempts = 0

    def attempt() -> Flow[T]:
        nonlocal attempts
        attempts += 1
        return (yield from request)

    try:
        return (yield from repeat(attempt, retrying))
    except KernelError as error:
        _annotate(error, request, attempts, began)
        raise


def repeat(attempt: Callable[[], Flow[T]], retrying: Retrying) -> Flow[T]:
    """
    Carry out a flow, again and again, as tenacity decides.

    :param attempt: makes the flow of one attempt.
    :param retrying: of this flow alone: its state is per thread.
    :raises KernelError: the error of the last attempt.
    """
    # tenacity decides, and neither sends nor sleeps. It is begun inside the flow: its state is per thread.
    retrying.begin()
    state = RetryCallState(retrying, fn=None, args=(), kwargs={})
    try:
        while True:
            decision = retrying.iter(state)
            if isinstance(decision, DoAttempt):
                try:
                    state.set_result((yield from attempt()))
                except KernelError as error:
                    state.set_exception((type(error), error, None))
            elif isinstance(decision, DoSleep):
                yield Sleep(float(decision))
                state.prepare_for_next_attempt()
            else:
                answer: T = decision
                return answer
    finally:
        retrying.iter_state.reset()  # a cycle, which would keep the answer alive until the garbage collection


class Pages(Generic[T]):
    """A list, page by page."""

    def __init__(self, first: Request[Page[T]]) -> None:
        self._request: Request[Page[T]] | None = first
        self._page: Page[T] | None = None

    def fetch(self) -> Flow[Page[T] | None]:
        """Fetch the next page; ``None`` after the last one. A list that would never end is an error."""
        if self._request is not None and self._page is not None:
            self._request = next_page(self._request, self._page)
        if self._request is None:
            return None
        self._page = yield from self._request
        return self._page


def next_items(stream: Stream[T]) -> Generator[Request[Any] | Sleep | EventStream[Any], Any, Iterable[T] | None]:
    """Carry a stream on to the next items that it emits; ``None`` when it has ended."""
    try:
        step = next(stream)
        while not isinstance(step, Emit):
            try:
                answer = yield step
            except KernelError as error:
                step = stream.throw(error)
            else:
                step = stream.send(answer)
    except StopIteration:
        return None
    return step.items


def list_rows(first: Request[Page[T]]) -> Stream[T]:
    """Emit the rows of a list, and fetch each page only when its rows are needed."""
    pages = Pages(first)
    while (page := (yield from pages.fetch())) is not None:
        yield Emit(page.items)


def read_events(request: StreamRequest[E], *, idle_timeout: float) -> Stream[E]:
    """Emit the events of one connection."""
    stream = EventStream(request, idle_timeout)
    while (event := (yield from stream.next_event())) is not None:
        yield Emit((event,))


class Follower(Protocol[E, ItemT_co]):
    """Decides when to reconnect to an event stream, which of its events are new, and when to stop."""

    @property
    def idle_timeout(self) -> float: ...

    @property
    def pause(self) -> float: ...

    def is_over(self) -> bool: ...

    def connect(self) -> StreamRequest[E]: ...

    def accept(self, event: E) -> Iterable[ItemT_co]: ...

    def closed(self) -> None: ...

    def failed(self, error: KernelError) -> None: ...


def follow(follower: Follower[E, ItemT_co]) -> Stream[ItemT_co]:
    """Emit the new items of an event stream, reconnecting until the follower is over."""
    while not follower.is_over():
        stream = EventStream(follower.connect(), follower.idle_timeout)
        try:
            while (event := (yield from stream.next_event())) is not None:
                yield Emit(tuple(follower.accept(event)))
                if follower.is_over():
                    return
            follower.closed()
        except KernelError as error:
            follower.failed(error)
        if not follower.is_over():
            yield Sleep(follower.pause)


def _annotate(error: KernelError, request: Request[Any], attempts: int, started: float) -> None:
    error.request = str(request)
    error.attempts = Attempts(attempts, time.monotonic() - started)
