"""
Read an answer: status and headers first, the body second. Then keep its connection, or drop it.

From 400 on the status says what is wrong: a body that cannot be read changes nothing about it. A connection is kept
only if nothing is left over on it, which would be taken for the answer to the next request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

from airflow_provider_kernel.client.errors import KernelAPIError, KernelError
from airflow_provider_kernel.client.http.deadline import Deadline, within
from airflow_provider_kernel.client.http.leftovers import has_leftovers
from airflow_provider_kernel.client.http.response import Response
from airflow_provider_kernel.client.http.response_body import BoundedBody, ErrorBody
from airflow_provider_kernel.client.http.transport import (
    HttpAnswer,
    achunks_of,
    chunks_of,
    headers_of,
    own_errors,
    response_of,
)

T = TypeVar("T")

#: How long to wait for the body of an error, in seconds.
ERROR_BODY_SECONDS = 5.0
#: A larger body is parsed in a thread, in bytes: this much takes some milliseconds, the largest page 0.1 s.
OFF_LOOP_BYTES = 1024 * 1024


def read_answer(answer: HttpAnswer, limit: Deadline, parse: Callable[[Response], T]) -> T:
    """
    Read an answer whose status and headers are there, and parse it.

    :raises KernelError: when the body of a success cannot be read, and what ``parse`` raises.
    """
    headers = headers_of(answer)
    body, limit_of_body = _body_of(answer, headers, limit)
    with _best_effort(answer), within(limit_of_body):
        body.collect(chunks_of(answer))
    return parse(response_of(answer, headers, body.content()))


async def aread_answer(answer: HttpAnswer, limit: Deadline, parse: Callable[[Response], T]) -> T:
    """Do what :func:`read_answer` does, in an event loop; a large body is joined and parsed in a thread."""
    headers = headers_of(answer)
    body, limit_of_body = _body_of(answer, headers, limit)
    with _best_effort(answer), limit_of_body.cancel_after():
        await body.acollect(achunks_of(answer))

    def parse_all() -> T:
        return parse(response_of(answer, headers, body.content()))

    if body.size <= OFF_LOOP_BYTES:
        return parse_all()
    with limit.cancel_after():  # all threads may be in use
        return await asyncio.to_thread(parse_all)


def _body_of(answer: HttpAnswer, headers: dict[str, str], limit: Deadline) -> tuple[BoundedBody, Deadline]:
    if answer.status_code < 400:
        return BoundedBody(headers, limit), limit
    sooner = limit.at_most(ERROR_BODY_SECONDS)
    return ErrorBody(headers, sooner), sooner


@contextmanager
def _best_effort(answer: HttpAnswer) -> Iterator[None]:
    try:
        with own_errors():
            yield
    except KernelError:
        if answer.status_code < 400:
            raise


class _Connection:
    """Tells at the end of a block whether an answer's connection must not serve another request."""

    def __init__(self, answer: HttpAnswer) -> None:
        self._answer = answer
        self.must_be_dropped = False

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is None or isinstance(error, KernelAPIError):
            self.must_be_dropped = has_leftovers(self._answer)
        else:
            self.must_be_dropped = isinstance(error, KernelError)


@contextmanager
def closing(answer: HttpAnswer) -> Iterator[None]:
    """
    Give an answer's connection back at the end of the block.

    It is dropped where more came than the answer, and where the block ends in an error that is not the API's own:
    what comes next on it could be anything.
    """
    connection = _Connection(answer)
    try:
        with connection:
            yield
    finally:
        if connection.must_be_dropped:
            answer.extensions["network_stream"].close()
        answer.close()


@asynccontextmanager
async def aclosing(answer: HttpAnswer) -> AsyncIterator[None]:
    """Do what :func:`closing` does, in an event loop."""
    connection = _Connection(answer)
    try:
        with connection:
            yield
    finally:
        try:
            if connection.must_be_dropped:
                await answer.extensions["network_stream"].aclose()
        finally:
            await answer.aclose()
