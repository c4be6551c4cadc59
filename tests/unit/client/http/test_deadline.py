"""An exchange ends at its deadline: in a thread by shorter reads and writes, in an event loop by a cancellation."""

from __future__ import annotations

import asyncio
import time

import pytest

from airflow_provider_kernel.client.errors import KernelTimeoutError
from airflow_provider_kernel.client.http import deadline
from airflow_provider_kernel.client.http.deadline import Deadline


class Stream:
    """A stream of the transport that records the timeouts that it gets."""

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


@pytest.fixture
def stream():
    """A stream to which deadlines apply."""
    for event in ("connection.connect_tcp.started", "http11.receive_response_headers.complete"):
        # Not a new connection: the values of these events must not be changed.
        deadline.trace(event, {"return_value": None})
    info = {"return_value": Stream()}
    deadline.trace("connection.connect_tcp.complete", info)
    return info["return_value"]


def test_without_a_deadline_the_streams_time_outs_stay(stream):
    assert stream.read(9, timeout=60) == b"x"
    stream.read(9, timeout=None)
    stream.write(b"abc", timeout=5)
    assert stream.timeouts == [60, None, 5]
    assert stream.written == [b"abc"]


def test_a_deadline_cuts_time_outs_short_and_makes_none_longer(stream):
    with deadline.within(Deadline(10)):
        stream.read(9, timeout=60)
        stream.read(9, timeout=None)
        stream.read(9, timeout=5)
    assert 9 < stream.timeouts[0] <= 10
    assert 9 < stream.timeouts[1] <= 10
    assert stream.timeouts[2] == 5


def test_no_read_or_write_begins_after_the_deadline(stream):
    with deadline.within(Deadline(0)):
        with pytest.raises(KernelTimeoutError, match="was not complete after 0 s"):
            stream.read(9, timeout=60)
        with pytest.raises(KernelTimeoutError):
            stream.write(b"abc", timeout=60)
    assert stream.timeouts == []


@pytest.mark.parametrize(("left", "error"), [(0, KernelTimeoutError), (60, OSError)])
def test_a_read_that_fails_at_the_deadline_names_the_deadline(stream, left, error):
    limit = Deadline(60)

    def fail_when_the_time_is_over(timeout):
        limit._end = time.monotonic() + left
        raise OSError("a time-out of the transport")

    stream._act = fail_when_the_time_is_over
    with deadline.within(limit), pytest.raises(error):
        stream.read(9, timeout=1)


def test_a_large_request_is_written_in_parts(stream):
    data = bytes(range(256)) * 1000
    with deadline.within(Deadline(10)):
        stream.write(data, timeout=60)
    assert b"".join(stream.written) == data
    assert len(stream.written) == 4


async def test_an_event_loop_is_cancelled_at_the_deadline():
    timeout = pytest.raises(KernelTimeoutError, match=r"was not complete after 0\.05 s")
    with timeout, Deadline(0.05).cancel_after():
        await asyncio.Event().wait()


async def test_a_deadline_in_an_event_loop_lets_other_errors_pass():
    with pytest.raises(OSError, match="cut"), Deadline(60).cancel_after():
        raise OSError("cut")


async def test_a_cancellation_from_outside_is_no_timeout():
    async def wait():
        with Deadline(60).cancel_after():
            begun.set()
            await asyncio.Event().wait()

    begun = asyncio.Event()
    task = asyncio.create_task(wait())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
