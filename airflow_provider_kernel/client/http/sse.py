"""Server-sent events: the request, and from bytes to the data of each event, bounded in size and in time."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from airflow_provider_kernel.client.bounds import MAX_EVENT_BYTES
from airflow_provider_kernel.client.errors import KernelError, KernelResponseError, KernelTimeoutError
from airflow_provider_kernel.client.http.request import Request
from airflow_provider_kernel.client.http.response import Response

E = TypeVar("E")

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(eq=False)
class StreamRequest(Request[None], Generic[E]):
    """A request that is answered with server-sent events."""

    parse_event: Callable[[str], E] = field(kw_only=True)

    def refuse(self, response: Response) -> KernelError:
        """Build the error for a response that is not an event stream."""
        try:
            self.receive(response)
        except KernelError as error:
            return error
        status = response.status_code
        return KernelResponseError(f"{status}, but no event stream", status_code=status)


class SSEDecoder:
    """
    Parse a stream by the standard of server-sent events; of each event, only the data is kept.

    :param line_timeout: seconds in which a line must be complete once it has begun.
    """

    def __init__(self, line_timeout: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._line_timeout = line_timeout
        self._clock = clock
        self._line: list[bytes] = []
        self._line_began: float | None = None
        self._data: list[bytes] = []
        self._has_fields = False
        self._held = 0
        self._after_cr = False
        self._is_start = True

    def feed(self, chunk: bytes) -> Iterator[str]:
        """
        Take a part of the stream, which may begin and end anywhere.

        :return: the data of the events that it completes. Bytes that are no UTF-8 become replacement characters.
        """
        if self._after_cr and chunk:
            chunk, self._after_cr = chunk.removeprefix(b"\n"), False
        if not chunk:
            return
        self._after_cr = chunk.endswith(b"\r")
        start, *others = _LINE_END.split(chunk)
        self._hold(start)
        for following in others:
            line = b"".join(self._line)
            self._line, self._line_began = [], None
            self._held -= len(line)
            yield from self._end_of_line(line)
            self._hold(following)

    def _hold(self, part: bytes) -> None:
        if not part:
            return
        now = self._clock()
        if self._line_began is None:
            self._line_began = now
        elif now - self._line_began > self._line_timeout:
            raise KernelTimeoutError(f"a line of the event stream was not complete after {self._line_timeout:g} s")
        self._line.append(part)
        self._held += len(part)
        if self._held > MAX_EVENT_BYTES:
            self._line.clear()
            self._data.clear()
            raise KernelResponseError(f"an event of the stream is larger than {MAX_EVENT_BYTES // 2**20} MiB")

    def _end_of_line(self, line: bytes) -> Iterator[str]:
        if self._is_start:
            self._is_start = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            if self._has_fields:
                data = b"\n".join(self._data).decode("utf-8", "replace")
                self._data, self._has_fields, self._held = [], False, 0
                yield data
            return
        name, _, value = line.partition(b":")
        if not name:
            return  # a comment
        self._has_fields = True
        if name == b"data":
            value = value.removeprefix(b" ")
            self._data.append(value)
            self._held += len(value) + 1
