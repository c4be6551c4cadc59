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
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from tenacity import DoAttempt, DoSleep, RetryCallState, Retrying

from airflow_provider_kernel.client.bounds import (
    MAX_LIST_PAGES,
    MAX_REPEATED_PAGES,
    MAX_RESPONSE_BYTES,
    MAX_ROWS_TOO_LARGE,
    MAX_WALKED_PAGES,
)
from airflow_provider_kernel.client.errors import (
    KernelError,
    KernelResponseError,
    KernelResponseTooLargeError,
    KernelRowTooLargeError,
)
from airflow_provider_kernel.client.http.pagination import (
    Page,
    UnreadableRow,
    limit_of,
    next_page,
    offset_of,
    with_paging,
)
from airflow_provider_kernel.client.http.request import Request
from airflow_provider_kernel.client.http.warn_once import warn_once
from airflow_provider_kernel.client.retry import Attempts, RetryPolicy
from airflow_provider_kernel.client.safe_logger import SafeLogger

if TYPE_CHECKING:
    from airflow_provider_kernel.client.http.sse import StreamRequest

T = TypeVar("T")
E = TypeVar("E")
ItemT_co = TypeVar("ItemT_co", covariant=True)


# Plain classes: a task loads this module, and a dataclass takes ten times as long to define.
class Sleep:
    """A pause before the next request; the driver may end it early."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class Emit(Generic[ItemT_co]):
    """Items of a stream, for its reader."""

    def __init__(self, items: Iterable[ItemT_co]) -> None:
        self.items = items


class EventStream(Generic[E]):
    """
    An event stream. Yielding it reads its next event; the first time, the driver opens it.

    :param idle_timeout: seconds without a sign of life after which the stream counts as dead.
    """

    def __init__(self, request: StreamRequest[E], idle_timeout: float) -> None:
        self.request = request
        self.idle_timeout = idle_timeout
        #: Whether anything has come, if only a comment; the driver sets it.
        self.is_alive = False
        self._opened = time.monotonic()

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
    """
    A list, page by page.

    A page that is too large to be read is requested in smaller ones. A row that is too large by itself is passed
    over, as one of the page's unreadable rows.

    :param most: how many pages to fetch before the list counts as endless. Default: ``MAX_LIST_PAGES``.
    """

    def __init__(self, first: Request[Page[T]], *, most: int | None = None) -> None:
        self._request: Request[Page[T]] | None = first
        self._page: Page[T] | None = None
        self._limit = limit_of(first)
        self._most = MAX_LIST_PAGES if most is None else most
        self._fetched = 0
        self._too_large = 0
        self._repeated = 0

    def fetch(self) -> Flow[Page[T] | None]:
        """
        Fetch the next page; ``None`` after the last one.

        :raises KernelRowTooLargeError: when too many rows are too large to be read.
        :raises KernelResponseError: when the list would never end.
        """
        request = self._request if self._page is None else self._next(self._page)
        while request is not None:
            self._request = request
            self._count()
            try:
                page = yield from request
            except KernelResponseTooLargeError as error:
                limit = limit_of(request)
                if limit > 1:
                    request = with_paging(request, limit=limit // 2)
                    continue
                page = self._without_row(request, error)
            self._check_progress(page, request)
            self._page = page
            return page
        self._request = None
        return None

    def _next(self, page: Page[T]) -> Request[Page[T]] | None:
        if self._request is None:
            return None
        request, limit = next_page(self._request, page), limit_of(self._request)
        if request is not None and limit < self._limit and page.size < MAX_RESPONSE_BYTES // 4:
            return with_paging(request, limit=min(2 * limit, self._limit))
        return request

    def _count(self) -> None:
        self._fetched += 1
        if self._fetched > self._most:
            error = KernelResponseError(f"the list does not end after {self._most} pages")
            error.advice = "Narrow the list, by the start time for example"
            raise error

    def _check_progress(self, page: Page[T], request: Request[Page[T]]) -> None:
        is_same = self._page is not None and page.items and page.items == self._page.items
        self._repeated = self._repeated + 1 if is_same else 0
        if self._repeated > MAX_REPEATED_PAGES:
            raise KernelResponseError(f"the list repeats itself at offset {offset_of(request)}")

    def _without_row(self, request: Request[Page[T]], error: KernelResponseTooLargeError) -> Page[T]:
        self._too_large += 1
        offset = offset_of(request)
        if self._too_large > MAX_ROWS_TOO_LARGE:
            raise KernelRowTooLargeError(
                f"the list has more than {MAX_ROWS_TOO_LARGE} rows that are too large to be read; "
                f"the last one is at offset {offset}"
            ) from error
        warn_once(f"A row in the list {request} is too large to be read, and is left out")
        return Page((), offset + 1, unreadable=(UnreadableRow("it is too large"),))


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


def list_rows(first: Request[Page[T]], *, snapshot: bool = False) -> Stream[T]:
    """
    Emit the rows of a list, and fetch each page only when its rows are needed.

    :param snapshot: read the whole list before the first row. For a list of active objects that the reader ends:
        each that leaves the list moves the next pages, and rows between them would be missed.
    """
    pages = Pages(first, most=None if snapshot else MAX_WALKED_PAGES)
    rows: list[T] = []
    while (page := (yield from pages.fetch())) is not None:
        if snapshot:
            rows += page.items
        else:
            yield Emit(page.items)
    yield Emit(rows)


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

    def heard(self) -> None: ...

    def closed(self) -> None: ...

    def failed(self, error: KernelError) -> None: ...


def follow(follower: Follower[E, ItemT_co]) -> Stream[ItemT_co]:
    """Emit the new items of an event stream, reconnecting until the follower is over."""
    while not follower.is_over():
        stream = EventStream(follower.connect(), follower.idle_timeout)
        failure: KernelError | None = None
        try:
            while (event := (yield from stream.next_event())) is not None:
                yield Emit(tuple(follower.accept(event)))
                if follower.is_over():
                    return
        except KernelError as error:
            failure = error
        if stream.is_alive:
            follower.heard()
        if failure is None:
            follower.closed()
        else:
            follower.failed(failure)
        if not follower.is_over():
            yield Sleep(follower.pause)


def _annotate(error: KernelError, request: Request[Any], attempts: int, started: float) -> None:
    error.request = str(request)
    error.attempts = Attempts(attempts, time.monotonic() - started)
