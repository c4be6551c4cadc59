"""The example of a profile, in one browser: the emulator's profiles keep no cookies from one to the next."""

import runpy
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.testing import KernelEmulator

EXAMPLE = Path(__file__).parents[2] / "dags_examples" / "example_kernel_profile.py"
LOGIN = "<form method=post action=/login><input id=username><input id=password><input type=submit></form>"


class Shop(BaseHTTPRequestHandler):
    """A site that logs in everybody, as the example's does."""

    def do_GET(self):
        is_logged_in = "session=1" in self.headers.get("Cookie", "")
        links = "<a href='/logout'>Logout</a>" if is_logged_in else "<a href='/login'>Login</a>"
        self.answer(200, LOGIN if self.path == "/login" else links)

    def do_POST(self):
        self.answer(302, "", {"Location": "/", "Set-Cookie": "session=1"})

    def answer(self, status, text, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args):
        pass


@pytest.fixture
def site():
    with ThreadingHTTPServer(("127.0.0.1", 0), Shop) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def page(monkeypatch):
    with KernelEmulator() as kernel:
        monkeypatch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", kernel.airflow_connection)
        with KernelHook() as hook, hook.browser() as browser, browser.page() as page:
            yield page


def test_example_of_a_profile_logs_in_and_reads_as_one_who_is(site, page):
    example = runpy.run_path(str(EXAMPLE))
    log_in, read = (example[name].function for name in ("log_in", "read"))
    assert read(page, site) == {"logged_in": False}
    log_in(page, site)
    assert read(page, site) == {"logged_in": True}
