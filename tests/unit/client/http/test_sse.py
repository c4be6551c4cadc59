"""Event streams are parsed by the standard, wherever the network cuts them into parts."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from airflow_provider_kernel.client.errors import KernelResponseError, KernelTimeoutError
from airflow_provider_kernel.client.http import sse
from airflow_provider_kernel.client.http.sse import SSEDecoder

STREAMS = {
    b"data: a\n\n": ["a"],
    b"data: a\r\rdata: b\r\n\r\ndata: c\n\n": ["a", "b", "c"],
    b"data: a\r\n\ndata: b\n\r\n": ["a", "b"],
    b"data:a\n\ndata:  b\n\n": ["a", " b"],
    b"data: a\ndata: b\ndata\n\n": ["a\nb\n"],
    b"event: log\nid: 7\nretry: 5\ndata: a\n\n": ["a"],
    b"event: ping\n\n": [""],
    b": a comment\n\n\n\n: another\n": [],
    b"data: never ended\n": [],
    b"data: a\n\ndata: cut": ["a"],
    b"\xef\xbb\xbfdata: a\n\n": ["a"],
    b"data: \xef\xbb\xbfa\n\n": ["\ufeffa"],
    "data: ü\u2028\x85😀\n\n".encode(): ["ü\u2028\x85😀"],
    b"data: \xff\xfe\n\n": ["\ufffd\ufffd"],
    b"data: a\x00b\x0bc\x0c\n\n": ["a\x00b\x0bc\x0c"],
    b"": [],
}


def read(stream, cuts=()):
    reader = SSEDecoder(60)
    edges = [0, *sorted(cuts), len(stream)]
    return [data for start, end in pairwise(edges) for data in reader.feed(stream[start:end])]


@pytest.mark.parametrize("stream", STREAMS, ids=repr)
def test_data_of_each_event_is_yielded_however_the_stream_is_cut(stream):
    assert read(stream) == STREAMS[stream]
    assert read(stream, range(1, len(stream))) == STREAMS[stream]
    for cut in range(len(stream)):
        assert read(stream, [cut]) == STREAMS[stream]


@given(
    stream=st.lists(st.sampled_from([b"data: a", b"data", b"\n", b"\r", b": c", b"x", b"\xc3", b"\xbc"])),
    data=st.data(),
)
def test_any_stream_reads_the_same_however_it_is_cut(stream, data):
    whole = b"".join(stream)
    cuts = data.draw(st.lists(st.integers(0, len(whole))))
    assert read(whole, cuts) == read(whole)


#: Parts that begin an event, and parts that continue it without end.
ENDLESS = {
    "a line": (b"data: ", b"x" * 65536),
    "a line of nothing": (b"", b"x" * 65536),
    "a comment": (b":", b"x" * 65536),
    "lines of one event": (b"", b"data: " + b"x" * 65536 + b"\n"),
    "empty lines of one event": (b"", b"data\n" * 65536),
}


class TestBounds:
    @pytest.mark.parametrize("name", ENDLESS)
    def test_endless_event_is_refused_before_it_fills_the_memory(self, name, monkeypatch):
        monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1024 * 1024)
        start, again = ENDLESS[name]
        reader = SSEDecoder(60)
        assert list(reader.feed(start)) == []

        def feed_a_hundred_megabytes():
            for _ in range(1600):
                assert list(reader.feed(again)) == []

        tracemalloc.start()
        with pytest.raises(KernelResponseError, match="an event of the stream is larger than 1 MiB"):
            feed_a_hundred_megabytes()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 80 * 2**20

    def test_endless_comments_take_no_memory(self, monkeypatch):
        monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
        reader = SSEDecoder(60)
        for line in (b": ping\n", b"\n", b"event: x\n", b"data: a\n\n"):
            for _ in range(1000):
                list(reader.feed(line))

    def test_event_of_the_size_limit_is_read(self, monkeypatch):
        monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
        assert read(b"data:" + b"x" * 995 + b"\n\n") == ["x" * 995]
        with pytest.raises(KernelResponseError):
            read(b"data:" + b"x" * 996 + b"\n\n")

    def test_line_that_drips_is_given_up_after_line_timeout(self):
        times = iter([0, 9, 18, 27, 30, 35, 40, 41])
        reader = SSEDecoder(10, clock=lambda: next(times))
        for part in [b": ping\n"] * 4 + [b"d"] * 3:
            assert list(reader.feed(part)) == []
        with pytest.raises(KernelTimeoutError, match="was not complete after 10 s"):
            list(reader.feed(b"d"))
