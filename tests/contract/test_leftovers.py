"""What is left over on a connection after an answer is never taken for the answer to the next request."""

from __future__ import annotations

import socket

import pytest
from contract.wire import Server, ok
from support.certificate import server_context, write_certificate

from airflow_provider_kernel.client.errors import KernelNotFoundError
from airflow_provider_kernel.client.resources.invocations import requests

GET = requests.get_invocation("abc")
CLOSE_BROWSERS = requests.delete_invocation_browsers("abc")

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
IN_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def running(output=""):
    return b'{"id": "abc", "status": "running", "output": "%s"}' % output.encode()


STRAY = ok(running("stray"))
#: What comes at once in answer to the first request: its answer, and more.
ANSWERS = {
    "an answer twice": (GET, ok(running()) + STRAY),
    "chunks and another answer": (GET, IN_CHUNKS + b"30\r\n%s\r\n0\r\n\r\n" % running() + STRAY),
    "a 204 and another answer": (CLOSE_BROWSERS, NO_CONTENT + STRAY),
    "a 204 with a body": (CLOSE_BROWSERS, NO_CONTENT.replace(b"\r\n", b"\r\nContent-Length: 5\r\n", 1) + b"stray"),
    "an error and another answer": (requests.get_invocation("gone"), NOT_FOUND + STRAY),
    # asyncio reads more at once than httpcore takes: the rest is neither in the socket nor with h11.
    "an answer of 64 KiB and another answer": (GET, ok(running().ljust(2**16 - 74)) + STRAY),
}


def first_then_good(first):
    """Answer the first request with some bytes, all others properly."""

    def answer(server, client, number):
        client.sendall(first if number == 1 else ok(running("own")))
        return True

    return answer


@pytest.mark.parametrize("name", ANSWERS)
def test_connection_on_which_more_came_than_its_answer_is_not_used_again(connect, name):
    request, first = ANSWERS[name]
    with Server(first_then_good(first)) as server:
        client = connect(server)
        if "error" in name:
            with pytest.raises(KernelNotFoundError):
                client.send(request)
        else:
            client.send(request)
        assert client.send(GET).output == "own"
        assert client.send(GET).output == "own"
        assert server.connections == 2


def test_connection_on_which_something_comes_while_it_is_idle_is_not_used_again(connect):
    kept = []

    def answer(server, client, number):
        kept.append(client)
        client.sendall(ok(running("own")))
        return True

    with Server(answer) as server:
        client = connect(server)
        client.send(GET)
        kept[0].sendall(STRAY)
        assert client.send(GET).output == "own"
        assert server.connections == 2


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """A context with a certificate of its own."""
    return server_context(write_certificate(tmp_path_factory.mktemp("tls")))


class TlsServer(Server):
    def __init__(self, answer, context):
        super().__init__(answer)
        self._context = context

    @property
    def base_url(self):
        return super().base_url.replace("http:", "https:")

    def handle(self, client):
        with self._context.wrap_socket(client.dup(), server_side=True) as encrypted:
            super().handle(encrypted)


def test_another_answer_in_a_tls_record_of_its_own_is_not_used(connect, tls):
    def answer(server, client, number):
        # Two records in one segment: the client's TLS has read the second one when it gives away the first.
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        client.sendall(ok(running("own")))
        if number == 1:
            client.sendall(STRAY)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        return True

    with TlsServer(answer, tls) as server:
        client = connect(server, verify_tls=False)
        for _ in range(3):
            assert client.send(GET).output == "own"
        assert server.connections == 2
