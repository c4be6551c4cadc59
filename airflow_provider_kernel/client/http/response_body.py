"""The body of an answer, bounded in size and time, compressed or not."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterable, Iterable, Iterator, Mapping

from airflow_provider_kernel.client.bounds import MAX_ERROR_BYTES, MAX_RESPONSE_BYTES
from airflow_provider_kernel.client.errors import KernelResponseError, KernelResponseTooLargeError
from airflow_provider_kernel.client.http.deadline import Deadline
from airflow_provider_kernel.client.sanitize import sanitize_line

#: The one compression that requests ask for and :class:`ContentDecoder` reads.
ACCEPTED_ENCODING = "gzip"
#: Data is decompressed in parts of this size: it may expand a thousandfold.
_PART_BYTES = 256 * 1024


class ContentDecoder:
    """
    Decompress a body, without holding much more than it was given.

    :param encoding: the ``Content-Encoding``; one that was not asked for is an error.
    """

    def __init__(self, encoding: str) -> None:
        kinds = [kind for part in encoding.split(",") if (kind := part.strip().lower()) not in ("", "identity")]
        if kinds not in ([], [ACCEPTED_ENCODING], [f"x-{ACCEPTED_ENCODING}"]):
            raise KernelResponseError(
                f"the body is encoded as {sanitize_line(encoding, 40)!r}, which was not asked for"
            )
        self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 16) if kinds else None

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Decode a chunk as it came over the wire, in parts of bounded size."""
        if self._inflater is None:
            yield chunk
            return
        # What follows the end of the compressed data is ignored.
        while not self._inflater.eof:
            try:
                part = self._inflater.decompress(chunk, _PART_BYTES)
            except zlib.error as error:
                raise KernelResponseError(f"the body cannot be decoded: {error}") from None
            if part:
                yield part
            chunk = self._inflater.unconsumed_tail
            if not chunk and len(part) < _PART_BYTES:
                return


class BoundedBody:
    """Collect a body; refuse one that is too large, or announces that it will be, or takes too long."""

    def __init__(self, headers: Mapping[str, str], deadline: Deadline) -> None:
        self._headers = headers
        self._deadline = deadline
        self._decoder: ContentDecoder | None = None
        self._parts: list[bytes] = []
        self._size = 0

    def collect(self, chunks: Iterable[bytes]) -> None:
        """Collect and decode the body from its chunks as they come over the wire."""
        self._begin()
        for chunk in chunks:
            for part in self._decoded(chunk):
                self._add(part)

    async def acollect(self, chunks: AsyncIterable[bytes]) -> None:
        """Do what :meth:`collect` does, in an event loop, which does other work between the parts."""
        self._begin()
        async for chunk in chunks:
            for part in self._decoded(chunk):
                self._add(part)
                if len(part) == _PART_BYTES:  # a chunk may hold a thousand of these
                    await asyncio.sleep(0)

    @property
    def size(self) -> int:
        """How many bytes were collected so far, decoded."""
        return self._size

    def content(self) -> bytes:
        """Return what was collected so far. To join the parts of a large body takes long, so that is done once."""
        self._parts = [b"".join(self._parts)]
        return self._parts[0]

    def _begin(self) -> None:
        announced = self._headers.get("content-length", "")
        # Parsing a number of thousands of digits takes long.
        if announced.isdecimal() and (len(announced) > 18 or int(announced) > MAX_RESPONSE_BYTES):
            raise _too_large()

    def _decoded(self, chunk: bytes) -> Iterator[bytes]:
        self._deadline.left()
        if self._decoder is None:
            self._decoder = ContentDecoder(self._headers.get("content-encoding", ""))
        return self._decoder.feed(chunk)

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > MAX_RESPONSE_BYTES:
            self._parts.clear()
            raise _too_large()
        self._parts.append(part)


class ErrorBody(BoundedBody):
    """Collect the body of an error, of which a message shows the start only."""

    def _begin(self) -> None:
        """Take any length: the rest is not read."""

    def _add(self, part: bytes) -> None:
        left = MAX_ERROR_BYTES - self._size
        self._size += len(part)
        self._parts.append(part[:left])
        if len(part) > left:
            raise _too_large()


def _too_large() -> KernelResponseError:
    return KernelResponseTooLargeError(f"the body is larger than {MAX_RESPONSE_BYTES // 2**20} MiB")
