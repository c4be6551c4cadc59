"""A page that a task's link can lead to: Kernel documents none of an invocation."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        invocation_id = self.path.rpartition("/")[2]
        body = f"<!doctype html><title>Dashboard</title><h1>Invocation {invocation_id}</h1>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


class Dashboard:
    """A server on loopback that has a page for every invocation."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Dashboard:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def template(self) -> str:
        """What to write into the connection's field."""
        return f"http://127.0.0.1:{self._server.server_port}/invocations/{{invocation_id}}"

    def page_of(self, invocation_id: str) -> str:
        """Give the address of an invocation's page."""
        return self.template.format(invocation_id=invocation_id)
