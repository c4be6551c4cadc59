"""
Connect a thread to a host, with one timeout for all addresses of its name together.

The transport's own connect in a thread tries one address after another, each with the whole timeout: with eight
silent addresses a timeout of 5 s takes 40 s. In an event loop, the transport has one timeout for all. So has this,
by the same rule ("happy eyeballs", RFC 8305): the next address is tried a quarter of a second later, while those
before it are still pending, and the first that answers is used.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

import httpcore
from httpcore._backends.sync import SyncStream

#: How long to wait for an address before the next one is tried, too.
_NEXT_ADDRESS_SECONDS = 0.25


def connect_to_any(host: str, port: int, timeout: float) -> socket.socket:
    """
    Connect to the first address of a host that answers.

    The search for the addresses counts, but a thread cannot cut it short.

    :param timeout: for all addresses together, in seconds.
    :raises TimeoutError: when none has answered in time.
    :raises OSError: when all have failed: the last failure.
    """
    end = time.monotonic() + timeout
    untried = deque(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    failure = OSError("the host has no address")
    next_at = 0.0
    with selectors.DefaultSelector() as pending:
        try:
            while untried or pending.get_map():
                now = time.monotonic()
                if now >= end:
                    raise TimeoutError(f"no address of the host answered in {timeout:g} s")
                if untried and (now >= next_at or not pending.get_map()):
                    family, kind, protocol, _, address = untried.popleft()
                    next_at = now + _NEXT_ADDRESS_SECONDS
                    try:
                        pending.register(_begin(family, kind, protocol, address), selectors.EVENT_WRITE)
                    except OSError as error:
                        failure = error
                    continue
                for key, _ in pending.select((min(end, next_at) if untried else end) - now):
                    sock: socket.socket = key.fileobj  # type: ignore[assignment]
                    pending.unregister(sock)
                    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if not code:
                        return sock
                    sock.close()
                    failure, next_at = OSError(code, os.strerror(code)), 0.0
        finally:
            for key in list(pending.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]
    raise failure


def _begin(family: int, kind: int, protocol: int, address: Any) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        sock.connect(address)
    except BlockingIOError:
        pass
    except BaseException:
        sock.close()
        raise
    return sock


class ConnectBackend(httpcore.SyncBackend):
    """The transport's way to the network, with :func:`connect_to_any`."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect, and raise the transport's own errors."""
        if timeout is None or local_address is not None:
            return super().connect_tcp(host, port, timeout, local_address, socket_options)
        try:
            sock = connect_to_any(host, port, timeout)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        for option in (*(socket_options or ()), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)):
            sock.setsockopt(*option)
        return SyncStream(sock)
