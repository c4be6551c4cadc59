"""Each read and write of the transport is cut to what is left of the exchange's time."""

from __future__ import annotations

import asyncio
import time

import pytest

from airflow_provider_kernel.client.errors import KernelTimeoutError
from airflow_provider_kernel.client.http import deadline
from airflow_provider_kernel.client.http.deadline import Deadline


class Stream:
    def __init__(self):
        self.timeouts = []
        self.written = []

    def _act(self, timeout):
        self.timeouts.append(timeout)

    def read(self, max_bytes, timeout=None):
        self._act(timeout)
        return b"x"

    def write(self, data, timeout=None):
        self._act(timeout)
        self.written.append(data)


class AsyncStream(Stream):
    async def read(self, max_bytes, timeout=None):
        return super().read(max_bytes, timeout)

    async def write(self, data, timeout=None):
        super().write(data, timeout)


@pytest.fixture(params=["sync", "async"])
def face(request):
    """A stream that keeps deadlines, and a way to call it."""
    info = {"return_value": Stream() if request.param == "sync" else AsyncStream()}

    def do(result):
        return asyncio.run(result) if request.param == "async" else result

    for event in ("connection.connect_tcp.started", "http11.receive_response_headers.complete"):
        # Nothing that is a connection; what they tell must not be touched.
        do((deadline.trace if request.param == "sync" else deadline.atrace)(event, {"return_value": None}))
    do((deadline.trace if request.param == "sync" else deadline.atrace)("connection.connect_tcp.complete", info))
    return info["return_value"], do


def test_without_a_deadline_nothing_changes(face):
    stream, do = face
    assert do(stream.read(9, timeout=60)) == b"x"
    do(stream.read(9, timeout=None))
    do(stream.write(b"abc", timeout=5))
    assert stream.timeouts == [60, None, 5]
    assert stream.written == [b"abc"]


def test_a_deadline_cuts_time_outs_short_and_makes_none_longer(face):
    stream, do = face
    with deadline.within(Deadline(10)):
        do(stream.read(9, timeout=60))
        do(stream.read(9, timeout=None))
        do(stream.read(9, timeout=5))
    assert 9 < stream.timeouts[0] <= 10
    assert 9 < stream.timeouts[1] <= 10
    assert stream.timeouts[2] == 5


def test_when_the_time_is_over_nothing_is_begun(face):
    stream, do = face
    with deadline.within(Deadline(0)):
        with pytest.raises(KernelTimeoutError, match="was not complete after 0 s"):
            do(stream.read(9, timeout=60))
        with pytest.raises(KernelTimeoutError):
            do(stream.write(b"abc", timeout=60))
    assert stream.timeouts == []


@pytest.mark.parametrize(("left", "error"), [(0, KernelTimeoutError), (60, OSError)])
def test_a_read_that_fails_at_the_deadline_tells_of_the_deadline(face, left, error):
    stream, do = face
    limit = Deadline(60)

    def fail_when_the_time_is_over(timeout):
        limit._end = time.monotonic() + left
        raise OSError("a time-out of the transport")

    stream._act = fail_when_the_time_is_over
    with deadline.within(limit), pytest.raises(error):
        do(stream.read(9, timeout=1))


def test_a_large_request_is_written_in_parts(face):
    stream, do = face
    data = bytes(range(256)) * 1000
    with deadline.within(Deadline(10)):
        do(stream.write(data, timeout=60))
    assert b"".join(stream.written) == data
    assert len(stream.written) == 4
