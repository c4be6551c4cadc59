"""A small web site on this machine, for the example that logs in: it takes any name, and remembers by a cookie."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_FORM = "<form method=post action=/login><input id=username><input id=password><input type=submit></form>"
_COOKIE = "session=demo"


class _Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/login":
            self._answer(200, _FORM)
        elif _COOKIE in self.headers.get("Cookie", ""):
            self._answer(200, "<a href='/logout'>Logout</a>")
        else:
            self._answer(200, "<a href='/login'>Login</a>")

    def do_POST(self) -> None:
        self._answer(302, "", {"Location": "/", "Set-Cookie": f"{_COOKIE}; Max-Age=3600"})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""

    def _answer(self, status: int, page: str, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "text/html", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page.encode())


@contextmanager
def serving_site() -> Iterator[str]:
    """Serve the site for the block, and give its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Site) as server:
        threading.Thread(target=server.serve_forever, name="kernel-demo-site", daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
