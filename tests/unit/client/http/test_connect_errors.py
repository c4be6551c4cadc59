from __future__ import annotations

import builtins
import errno
import socket
import ssl

import pytest

from airflow_provider_kernel.client.destination import ConnectionProblem
from airflow_provider_kernel.client.http.connect_errors import classify_connect_error

NO_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")


def with_detail(kind, name, value):
    error = kind(1, "as the ssl module makes it")
    setattr(error, name, value)
    return error


class TransportError(Exception):
    """The error of a transport; its cause says what happened."""


class OddError(OSError):
    """A subclass, since ``OSError`` itself would choose the class by the number."""


class GroupError(OSError):
    """Like anyio's group of errors, one for each address; on Python 3.10 it is no built-in ``ExceptionGroup``."""

    def __init__(self, *exceptions):
        super().__init__("all connection attempts failed")
        self.exceptions = exceptions


def raised(how):
    """Catch the transport's error after raising it in some way."""
    try:
        how()
    except TransportError as error:
        return error


def from_(cause):
    def how():
        raise TransportError("outer") from cause

    return raised(how)


def while_handling(cause):
    def how():
        try:
            raise cause
        except type(cause):
            raise TransportError("outer") from None

    return raised(how)


WAYS = {
    "itself": lambda cause: cause,
    "cause": from_,
    "hidden context": while_handling,
    "cause of a cause": lambda cause: from_(from_(from_(cause))),
    "context of a cause": lambda cause: from_(while_handling(cause)),
    "one of a group": lambda cause: from_(GroupError(TimeoutError("slow"), from_(cause))),
}


@pytest.mark.parametrize(
    ("cause", "problem", "text"),
    [
        (NO_NAME, ConnectionProblem.NAME, "the host name cannot be resolved (Name or service not known)"),
        (
            socket.gaierror("no name"),
            ConnectionProblem.NAME,
            "the host name cannot be resolved (no name)",
        ),
        (
            with_detail(ssl.SSLCertVerificationError, "verify_message", "self-signed certificate"),
            ConnectionProblem.TLS,
            "the TLS certificate is not trusted (self-signed certificate)",
        ),
        (
            ssl.SSLEOFError(8, "EOF occurred"),
            ConnectionProblem.HANDSHAKE,
            "the connection was cut during the TLS handshake",
        ),
        (
            ssl.SSLZeroReturnError(6, "closed"),
            ConnectionProblem.HANDSHAKE,
            "the connection was cut during the TLS handshake",
        ),
        # As an event loop and a thread see a reset.
        (
            ssl.SSLWantReadError(2, "The operation did not complete"),
            ConnectionProblem.HANDSHAKE,
            "the connection was cut during the TLS handshake",
        ),
        (
            ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
            ConnectionProblem.HANDSHAKE,
            "the connection was cut during the TLS handshake",
        ),
        (
            with_detail(ssl.SSLError, "reason", "WRONG_VERSION_NUMBER"),
            ConnectionProblem.NO_TLS,
            "the server does not answer with TLS (WRONG_VERSION_NUMBER)",
        ),
        (
            with_detail(ssl.SSLError, "reason", "RECORD_LAYER_FAILURE"),
            ConnectionProblem.NO_TLS,
            "the server does not answer with TLS (RECORD_LAYER_FAILURE)",
        ),
        (with_detail(ssl.SSLError, "reason", "WRONG_VERSION"), ConnectionProblem.TLS, "TLS failed (WRONG_VERSION)"),
        (ssl.SSLError("odd"), ConnectionProblem.TLS, f"TLS failed ({ssl.SSLError('odd')})"),
        (
            ssl.SSLCertVerificationError("odd"),
            ConnectionProblem.TLS,
            f"the TLS certificate is not trusted ({ssl.SSLError('odd')})",
        ),
        (REFUSED, ConnectionProblem.REFUSED, "the connection was refused"),
        (
            OddError(errno.ECONNREFUSED, "Connect call failed"),
            ConnectionProblem.REFUSED,
            "the connection was refused",
        ),
    ],
    ids=[
        "name",
        "name by text",
        "certificate",
        "EOF",
        "close",
        "reset in an event loop",
        "reset",
        "plain http",
        "plain http by another OpenSSL",
        "TLS",
        "TLS by text",
        "certificate by text",
        "refused",
        "by number",
    ],
)
def test_connect_error_is_classified_by_its_cause(cause, problem, text):
    assert classify_connect_error(from_(cause)) == (problem, text)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_connect_error_is_classified_however_deep_the_cause_is(way):
    assert classify_connect_error(way(REFUSED)) == (ConnectionProblem.REFUSED, "the connection was refused")


@pytest.mark.parametrize(
    "cause",
    [OSError(errno.EHOSTUNREACH, "No route to host"), TimeoutError("slow"), ValueError()],
    ids=repr,
)
def test_connect_error_with_another_cause_is_the_network(cause):
    error = from_(cause)
    assert classify_connect_error(error) == (ConnectionProblem.NETWORK, "no connection could be made (outer)")


def test_connect_error_without_a_cause_is_the_network():
    assert classify_connect_error(OSError("odd")) == (
        ConnectionProblem.NETWORK,
        "no connection could be made (odd)",
    )


def test_outermost_of_several_causes_classifies_a_connect_error():
    refused = ConnectionRefusedError()
    refused.__cause__ = from_(NO_NAME)
    assert classify_connect_error(refused)[0] is ConnectionProblem.REFUSED


def test_causes_in_an_exception_group_classify_a_connect_error():
    group_class = getattr(builtins, "ExceptionGroup", None)
    if group_class is None:
        pytest.skip("Python 3.10 has none")
    error = from_(group_class("all failed", [TimeoutError(), group_class("inner", [REFUSED])]))
    assert classify_connect_error(error)[0] is ConnectionProblem.REFUSED


def test_cycle_of_causes_does_not_loop():
    first, second = TransportError("first"), TransportError("second")
    first.__cause__, second.__context__ = second, first
    assert classify_connect_error(first) == (ConnectionProblem.NETWORK, "no connection could be made (first)")


def test_refused_connection_of_the_system_is_classified():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="refused") as caught:
            socket.create_connection(taken.getsockname())
    assert classify_connect_error(caught.value)[0] is ConnectionProblem.REFUSED
