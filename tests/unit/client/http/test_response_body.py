"""Bodies are bounded in size, compressed and decompressed, and in time."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest

from airflow_provider_kernel.client.errors import KernelResponseError, KernelTimeoutError
from airflow_provider_kernel.client.http import response_body
from airflow_provider_kernel.client.http.deadline import Deadline
from airflow_provider_kernel.client.http.response_body import BoundedBody, ContentDecoder

TEXT = b'{"id": "abc"}' * 1000
ENCODED = {
    "": TEXT,
    "identity": TEXT,
    "gzip": gzip.compress(TEXT),
    "x-gzip": gzip.compress(TEXT),
    "GZIP, identity": gzip.compress(TEXT),
    " GZip ": gzip.compress(TEXT),
}


def collect(chunks, **headers):
    body = BoundedBody({name.replace("_", "-"): value for name, value in headers.items()}, Deadline(60))
    body.collect(chunks)
    return body.content()


class TestEncodings:
    @pytest.mark.parametrize("encoding", ENCODED)
    @pytest.mark.parametrize("size", [1, 7, 10**6])
    def test_an_accepted_encoding_is_read_in_any_parts(self, encoding, size):
        sent = ENCODED[encoding]
        parts = [sent[start : start + size] for start in range(0, len(sent), size)]
        assert collect(parts, content_encoding=encoding) == TEXT

    @pytest.mark.parametrize(
        "encoding", ["deflate", "br", "zstd", "gzip, gzip", "compress", "x" * 1000, "\x1b[31m"]
    )
    def test_another_encoding_is_refused(self, encoding):
        with pytest.raises(KernelResponseError, match="which was not asked for") as caught:
            collect([b"x"], content_encoding=encoding)
        assert len(str(caught.value)) < 250
        assert str(caught.value).isprintable()

    @pytest.mark.parametrize(
        "sent", [b"plain text", gzip.compress(b"x" * 100)[:20] + b"garbage" * 9], ids=["plain", "garbled"]
    )
    def test_a_body_that_is_no_gzip_is_refused(self, sent):
        with pytest.raises(KernelResponseError, match="cannot be decoded"):
            collect([sent], content_encoding="gzip")

    def test_data_after_the_end_of_gzip_is_left_out(self):
        assert collect([gzip.compress(b"abc") + b"more"], content_encoding="gzip") == b"abc"

    def test_a_gzip_bomb_is_decompressed_in_parts(self):
        # A quarter of a megabyte that decompresses to 256 MiB.
        packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
        bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(256)) + packer.flush()
        assert len(bomb) < 300_000
        tracemalloc.start()
        total = sum(len(part) for part in ContentDecoder("gzip").feed(bomb))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert total == 2**28
        assert peak < 4 * 2**20


class TestSize:
    def test_an_endless_body_takes_bounded_memory(self, monkeypatch):
        monkeypatch.setattr(response_body, "MAX_RESPONSE_BYTES", 2**20)
        tracemalloc.start()
        for _ in range(5):
            with pytest.raises(KernelResponseError, match="the body is larger than 1 MiB"):
                collect(bytes(65536) for _ in range(1600))  # 100 MiB
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 3 * 2**20

    @pytest.mark.parametrize("announced", [str(response_body.MAX_RESPONSE_BYTES + 1), "9" * 5000])
    def test_a_body_announced_as_too_large_is_not_read(self, announced):
        with pytest.raises(KernelResponseError, match="the body is larger than 64 MiB"):
            collect(iter(()), content_length=announced)

    @pytest.mark.parametrize("announced", ["", "soon", "-1", "²", str(response_body.MAX_RESPONSE_BYTES)])
    def test_a_body_of_unknown_or_allowed_length_is_read(self, announced):
        assert collect([b"abc"], content_length=announced) == b"abc"


def test_a_body_that_takes_too_long_is_given_up():
    with pytest.raises(KernelTimeoutError, match="was not complete after 0 s"):
        BoundedBody({}, Deadline(0)).collect([b"abc"])
