"""Why a connection could not be made. The transport's error shows it in its chain of causes only."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator

from airflow_provider_kernel.client.destination import ConnectionProblem

#: A connection that ends in the handshake. In an event loop, a reset leaves that more bytes are wanted.
_CUTS = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLWantReadError, ssl.SSLWantWriteError, ConnectionResetError)
#: OpenSSL's reasons where bytes come that are no record of TLS, by version.
_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST")


def classify_connect_error(error: BaseException) -> tuple[ConnectionProblem, str]:
    """Find out which step towards a connection failed, and describe it."""
    for cause in _causes(error):
        if isinstance(cause, socket.gaierror):
            return ConnectionProblem.NAME, f"the host name cannot be resolved ({cause.strerror or cause})"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return ConnectionProblem.TLS, f"the TLS certificate is not trusted ({_detail(cause, 'verify_message')})"
        if isinstance(cause, _CUTS):
            # A load balancer that hangs up in the handshake, and the next one may go through; or plain http.
            return ConnectionProblem.HANDSHAKE, "the connection was cut during the TLS handshake"
        if isinstance(cause, ssl.SSLError) and _detail(cause, "reason") in _NOT_TLS:
            return ConnectionProblem.NO_TLS, f"the server does not answer with TLS ({cause.reason})"
        if isinstance(cause, ssl.SSLError):
            return ConnectionProblem.TLS, f"TLS failed ({_detail(cause, 'reason')})"
        if isinstance(cause, ConnectionRefusedError) or getattr(cause, "errno", None) == errno.ECONNREFUSED:
            return ConnectionProblem.REFUSED, "the connection was refused"
    return ConnectionProblem.NETWORK, f"no connection could be made ({error})"


def _detail(error: BaseException, name: str) -> object:
    # Set by the ssl module itself, not by other code that raises its errors.
    return getattr(error, name, None) or error


def _causes(error: BaseException) -> Iterator[BaseException]:
    waiting: list[BaseException] = [error]
    seen: set[int] = set()
    while waiting:
        cause = waiting.pop()
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        waiting.extend(c for c in (cause.__context__, cause.__cause__) if c is not None)
        # anyio tries all addresses of a host and raises their errors as a group.
        waiting.extend(getattr(cause, "exceptions", ()))
