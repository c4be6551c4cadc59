"""uvicorn in a daemon thread, on a socket that is bound first."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from airflow_provider_kernel.testing.faults import CONNECTION

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_GRACE_SECONDS = 0.5
_THREAD_SECONDS = 5.0
_WEBSOCKET_LOGGER = logging.getLogger("airflow_provider_kernel.testing.websockets")
_WEBSOCKET_LOGGER.setLevel(logging.WARNING)


class _Protocol(H11Protocol):
    """A connection that adds itself to the scope of its requests, so that faults can close it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Not in the configuration, which would remove the handlers of uvicorn's logger.
        self.access_log = False
        self.app_state = {**self.app_state, CONNECTION: self}

    def drop(self, *, reset: bool) -> None:
        if self.cycle is not None:
            # Set it now: a write before the event loop reports the disconnect would be an error.
            self.cycle.disconnected = True
        _close(self.transport, reset=reset)


class _WebSocket(WebSocketsSansIOProtocol):
    """A websocket that faults can close, and whose address, which holds a secret, is in no log."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = self.conn.logger = _WEBSOCKET_LOGGER
        self.conn.debug = False
        self.app_state = {**self.app_state, CONNECTION: self}

    async def send(self, message: Any) -> None:
        if message["type"] == "websocket.http.response.start":
            # uvicorn writes its own beside it; before 0.50, clients got both, and refused the answer.
            headers = [header for header in message.get("headers", ()) if header[0].lower() != b"content-length"]
            message = {**message, "headers": headers}
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            # The handshake was refused; uvicorn would log that it is missing.
            self.handshake_complete = True

    def drop(self, *, reset: bool) -> None:
        _close(self.transport, reset=reset)


def _close(transport: asyncio.Transport, *, reset: bool) -> None:
    if transport.is_closing():
        return
    if reset:
        linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    else:
        # Ends the connection even if a forked child holds a copy of the socket, and after pending writes;
        # close() alone guarantees neither.
        with contextlib.suppress(OSError):
            transport.write_eof()
    transport.close()


class _Uvicorn(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self.stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def request_stop(self) -> None:
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # the event loop has ended
                self._loop.call_soon_threadsafe(self._stop.set)

    def cut_websockets(self) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the event loop has ended
                self._loop.call_soon_threadsafe(self._cut_websockets)

    def _cut_websockets(self) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, _WebSocket):
                connection.drop(reset=False)

    async def main_loop(self) -> None:
        """Wait for the stop as an event; uvicorn itself polls ten times a second."""
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await self.on_tick(0)
        self.ready.set()
        while not self._stop.is_set():
            try:
                await asyncio.wait_for(self._stop.wait(), 1.0)
            except asyncio.TimeoutError:
                await self.on_tick(0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close every connection: streams and answers may never end by themselves."""
        self.stopping = True
        for sock in sockets or ():
            with contextlib.suppress(OSError):  # macOS has no shutdown of a listening socket
                # A copy of the socket in a forked child would keep listening after close().
                sock.shutdown(socket.SHUT_RDWR)
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            if isinstance(connection, (_Protocol, _WebSocket)):
                connection.drop(reset=False)
        await asyncio.sleep(0)
        tasks = set(self.server_state.tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=0.05)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=_GRACE_SECONDS)


class EmulatorServer:
    """
    Serves an ASGI application until it is stopped.

    :param app: the application.
    :param host: address to bind.
    :param port: port to bind; 0 picks a free one.
    """

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        self._app = app
        self._socket = _bind(host, port)
        self.port: int = self._socket.getsockname()[1]
        self._owner = os.getpid()
        self._error: BaseException | None = None
        config = uvicorn.Config(
            self._guarded,
            http=_Protocol,
            loop="asyncio",
            ws=_WebSocket,
            ws_max_size=256 * 1024 * 1024,
            ws_ping_interval=None,
            ws_per_message_deflate=False,
            lifespan="off",
            interface="asgi3",
            log_config=None,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=60,
        )
        self._uvicorn = _Uvicorn(config)
        self._thread = threading.Thread(target=self._serve, name="kernel-emulator", daemon=True)

    def start(self) -> None:
        """Start, and return when it answers requests."""
        self._thread.start()
        self._uvicorn.ready.wait()
        if self._error is not None:
            raise RuntimeError(f"the emulator did not start: {self._error}") from self._error

    @property
    def is_here(self) -> bool:
        """Whether it runs in this process: a forked child has the object, but not the thread."""
        return os.getpid() == self._owner

    def cut_websockets(self) -> None:
        """Close every websocket."""
        self._uvicorn.cut_websockets()

    def stop(self) -> None:
        """Stop, and close every connection."""
        self._uvicorn.request_stop()
        self._thread.join(_THREAD_SECONDS)
        self._socket.close()
        if self._thread.is_alive():
            raise RuntimeError(f"the emulator's server did not stop within {_THREAD_SECONDS:g} s")

    def _serve(self) -> None:
        try:
            asyncio.run(self._uvicorn.serve(sockets=[self._socket]))
        except BaseException as error:  # noqa: BLE001 - start() raises it
            self._error = error
        finally:
            self._uvicorn.ready.set()

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            # A stopping server cancels requests; uvicorn would log this as an error of the application.
            if not self._uvicorn.stopping:
                raise


def reserve(host: str, port: int) -> socket.socket:
    """Bind a port without listening: connections are refused, and nobody else takes the port."""
    return _bind(host, port, listen=False)


def _bind(host: str, port: int, *, listen: bool = True) -> socket.socket:
    # IPPROTO_TCP: only then does asyncio disable Nagle's algorithm, which costs 40 ms an answer.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        if listen:
            sock.listen(512)
    except OSError as error:
        sock.close()
        raise OSError(
            error.errno, f"the emulator cannot listen on {host}:{port}: {error.strerror}; port 0 picks a free one"
        ) from error
    return sock
