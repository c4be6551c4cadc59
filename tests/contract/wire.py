"""Sockets below HTTP: a relay that counts connections, and servers that answer whatever a test wants."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable


class _Listener:
    """Accepts connections on loopback, a thread each, until the end of the ``with`` block."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._changed = threading.Condition()
        self._sockets: list[socket.socket] = []
        self.stopped = threading.Event()
        #: How many connections were ever made.
        self.connections = 0
        #: How many of them are still there.
        self.open = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self):
        threading.Thread(target=self._accept, name="contract-listener", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        _close(self._socket)
        with self._changed:
            for sock in self._sockets:
                _close(sock)

    def wait_until_open(self, count: int) -> None:
        """Wait until so many connections are there, no more and no fewer."""
        with self._changed:
            done = self._changed.wait_for(lambda: self.open == count, 5)
        assert done, f"{self.open} connections are open, not {count}"

    def handle(self, client: socket.socket) -> None:
        """Talk on a connection; it is closed afterwards."""
        raise NotImplementedError

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with self._changed:
                if self.stopped.is_set():
                    client.close()
                    return
                self.connections += 1
                self.open += 1
                self._sockets.append(client)
                self._changed.notify_all()
            threading.Thread(target=self._handle, args=(client,), name="contract-connection", daemon=True).start()

    def _handle(self, client: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError):
                self.handle(client)
        finally:
            _close(client)
            with self._changed:
                self._sockets.remove(client)
                self.open -= 1
                self._changed.notify_all()


class Relay(_Listener):
    """
    Passes everything on to a server, and sees what a client does with its connections.

    :param port: where the server listens.
    """

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port
        #: All bytes that clients have sent.
        self.sent = b""

    def handle(self, client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._port)) as server:
            for sock in (client, server):  # or the two halves of a request take 40 ms
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=_pump, args=(server, client), name="contract-relay", daemon=True)
            back.start()
            with contextlib.suppress(OSError):
                while data := client.recv(65536):
                    self.sent += data
                    server.sendall(data)
            _close(server)
            back.join()

    def request_lines(self) -> list[str]:
        """The first lines of the requests, as they went over the wire."""
        return [line.decode() for line in self.sent.split(b"\r\n") if line.endswith(b" HTTP/1.1")]

    def cut(self) -> None:
        """Drop all connections, as a load balancer drops idle ones; the clients' ends know when this returns."""
        with self._changed:
            for sock in self._sockets:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        self.wait_until_open(0)


class Server(_Listener):
    """
    Answers each request with what a function does.

    :param answer: takes this server, the connection and the number of the request, from 1; returns whether the
        connection stays open for a further one.
    """

    def __init__(self, answer: Callable[[Server, socket.socket, int], bool]) -> None:
        super().__init__()
        self._answer = answer
        self.requests: list[bytes] = []

    def handle(self, client: socket.socket) -> None:
        while head := _read_head(client):
            self.requests.append(head)
            if not self._answer(self, client, len(self.requests)):
                return

    def drip(self, client: socket.socket, data: bytes, *, every: float) -> None:
        """Send a byte at a time until the client has had enough; it is over at the end of the test in any case."""
        for byte in data:
            if self.stopped.wait(every):
                return
            client.sendall(bytes((byte,)))


def ok(body: bytes) -> bytes:
    """A complete answer 200, after which the connection stays open."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def _read_head(client: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(65536)
        if not more:
            return b""
        data += more
    return data


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    # Where the server hangs up, the client must learn of it.
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def _close(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
