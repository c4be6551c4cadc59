"""
Whether more has come on a connection than its answer.

httpcore notices what waits in the socket, and then takes another connection. What was read together with the answer
waits in the buffers above the socket, and h11 would take it for the answer to the next request. The libraries
do not show these buffers. Where one is not found, the connection is not used again.
"""

from __future__ import annotations

from typing import Any

_MISSING = object()
#: From httpx's stream of an answer to h11's state of the connection, through httpcore.
_TO_H11 = ("_stream", "_httpcore_stream", "_stream", "_connection", "_h11_state")


def has_leftovers(answer: Any) -> bool:
    """Tell whether bytes were read that are not part of an answer that was read to its end."""
    h11 = _follow(answer.stream, *_TO_H11)
    return h11 is _MISSING or bool(h11.trailing_data[0]) or _has_unread(answer.extensions["network_stream"])


def _has_unread(stream: Any) -> bool:
    tls = stream.get_extra_info("ssl_object")
    if tls is not None and tls.pending():
        return True
    if not hasattr(stream, "aclose"):
        return False  # a blocking socket has no other buffer
    below = _follow(stream, "_stream")
    if tls is not None:
        encrypted = _follow(below, "_read_bio")
        if encrypted is _MISSING or encrypted.pending:
            return True
        below = _follow(below, "transport_stream")
    received = _follow(below, "_protocol", "read_queue")
    return received is _MISSING or bool(received)


def _follow(value: Any, *names: str) -> Any:
    for name in names:
        value = getattr(value, name, _MISSING)
    return value
