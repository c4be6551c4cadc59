"""Where requests go, and what can keep them from getting there."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from airflow_provider_kernel.client.defaults import DEFAULT_BASE_URL


class Destination(NamedTuple):
    """
    Where requests go.

    :param base_url: scheme, host and port.
    :param settings: where that comes from, such as ``connection 'kernel_default'``; ``None`` for code of one's own.
    """

    base_url: str
    settings: str | None = None

    def __str__(self) -> str:
        return ", ".join(part for part in (self.settings, self.base_url) if part)


class ConnectionProblem(Enum):
    """Which step towards an answer failed; the value is what to do about it."""

    NAME = "Check the host's name in the Airflow connection, and this machine's DNS"
    REFUSED = "Check the host and port in the Airflow connection; nothing listens there"
    TLS = "If the API is behind a private certificate authority, name its CA bundle in verify_tls"
    TIMEOUT = "If the API is just slow, raise read_timeout (or connect_timeout) in the connection's extra"
    NO_TLS = "If it speaks plain http, write http://HOST:PORT as the host of the Airflow connection"
    HANDSHAKE = (
        "If the server speaks plain http, write http://HOST:PORT as the host of the Airflow connection; "
        "else check the network: proxies, firewalls, load balancers"
    )
    NETWORK = "Check the network between this machine and the API: proxies, firewalls, load balancers"

    @property
    def is_of_tls(self) -> bool:
        """Whether TLS cannot work as things are set up: another attempt fails, too."""
        return self in (ConnectionProblem.TLS, ConnectionProblem.NO_TLS)

    def advice_for(self, base_url: str) -> str:
        """Say what to do about it, with the base URL where http was meant."""
        text: str = self.value
        if _HTTP_HOST not in text:
            return text
        if base_url == DEFAULT_BASE_URL or not base_url.startswith("https://"):
            # The key must not be sent to Kernel without TLS.
            return ConnectionProblem.NETWORK.value
        return text.replace(_HTTP_HOST, _with_http(base_url))


#: Stands in the values above for the base URL with http.
_HTTP_HOST = "http://HOST:PORT"


def _with_http(base_url: str) -> str:
    address = base_url.partition("://")[2]
    # Without a port, it would be the one of plain http.
    has_port = ":" in address.rpartition("]")[2]
    return f"http://{address}" if has_port else f"http://{address}:443"
