"""The settings of a client, checked before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol
from urllib.parse import urlsplit

from airflow_provider_kernel.client.dashboard import check_template
from airflow_provider_kernel.client.defaults import DEFAULT_BASE_URL, DEFAULT_DASHBOARD_URL
from airflow_provider_kernel.client.errors import KernelConfigurationError
from airflow_provider_kernel.client.hosts import can_be_a_host, with_brackets
from airflow_provider_kernel.client.redaction import MIN_KEY_LENGTH, register_key
from airflow_provider_kernel.client.retry import RetryPolicy
from airflow_provider_kernel.client.sanitize import sanitize_line, short_repr
from airflow_provider_kernel.client.unpicklable import HoldsKey
from airflow_provider_kernel.client.validation import is_number

_PORTS = {"http": 80, "https": 443}
_LONGEST_HEADER = 500


def normalise_base_url(given: str) -> str:
    """
    Check a base URL.

    :param given: a host with or without scheme and port, such as ``api.onkernel.com`` (https is assumed) or
        ``http://127.0.0.1:8080``. An IPv6 address needs brackets only beside a port.
    :return: scheme, host and port (unless it is the scheme's own), with no slash at the end.
    :raises KernelConfigurationError: when it has a path, a query or credentials, or is no URL.
    """
    text = with_brackets(given.strip())
    if "@" in text:
        # What precedes an "@" may be a secret: never echo it, not even a part of it.
        raise _unusable(
            "…@" + text.rpartition("@")[2],
            "it holds credentials; the API key belongs into the connection's password",
        )
    problem: str | None = None
    try:
        url = urlsplit(text if "://" in text else f"https://{text}")
        port = url.port
    except ValueError as error:
        raise KernelConfigurationError(
            f"The host {short_repr(text)} of the Kernel connection is no URL: {sanitize_line(str(error), 80)}"
        ) from None
    if url.scheme not in ("http", "https"):
        problem = f"its scheme is {short_repr(url.scheme)}; allowed are http and https"
    elif not url.hostname or any(c.isspace() for c in text):
        problem = "it names no host"
    elif not text.isprintable() or not can_be_a_host(url.hostname):
        problem = f"{short_repr(url.hostname)} cannot be the name or address of a host"
    elif url.path not in ("", "/"):
        problem = f"it has a path ({sanitize_line(url.path, 80)}); the API is at the root of its host"
    elif "?" in text or "#" in text:
        problem = "it has a query or a fragment"
    if problem or url.hostname is None:
        raise _unusable(text, problem or "it names no host")
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    # The default port is left out, so that equal addresses are equal texts.
    return f"{url.scheme}://{host}" + (f":{port}" if port and port != _PORTS[url.scheme] else "")


def _unusable(given: str, problem: str) -> KernelConfigurationError:
    return KernelConfigurationError(
        f"The host {short_repr(given)} of the Kernel connection cannot be used: {problem}. "
        f"Give a host such as 'api.onkernel.com' or a base URL such as {DEFAULT_BASE_URL!r}"
    )


class ConfigSource(Protocol):
    """
    Where the settings came from. A client asks it for the present ones when Kernel refuses those that it has.

    All clients of a process that have settings from one source go on with the newest that one of them has met.
    """

    #: Tells two sources apart that give equal settings.
    name: str
    #: How errors name it.
    label: str
    #: The settings that were read last; ``None`` before they were read anew.
    newest: KernelConfig | None

    def renew(self, seconds: float) -> None:
        """Read the settings anew into :attr:`newest`. A failure is logged. Blocks for so many seconds at most."""
        ...

    async def arenew(self, seconds: float) -> None:
        """Do what :meth:`renew` does, without blocking the event loop."""
        ...

    def prepare(self) -> None:
        """Make what :meth:`renew` needs, for a client that is used while a signal handler waits for it."""
        ...

    def close(self) -> None:
        """Give back what :meth:`prepare` has made. Waits for nothing."""
        ...


@dataclass(frozen=True)
class KernelConfig(HoldsKey):
    """
    How to reach the Kernel API, and as whom. It cannot be pickled, because it holds the API key.

    :param api_key: the API key, of 8 characters at least; never shown in ``repr``, logs or errors.
    :param base_url: where the API is; with or without scheme.
    :param project: a project's id or exact name; ``None`` for the key's own, or the organization's default.
    :param connect_timeout: seconds to wait for a connection.
    :param read_timeout: seconds to wait for the next part of an answer.
    :param verify_tls: ``True``, ``False``, or the path of a CA bundle.
    :param dashboard_url: where a person opens invocations; see :mod:`airflow_provider_kernel.client.dashboard`.
    :param source: where to find the present settings when Kernel refuses these; ``None``: nowhere.
    """

    api_key: str = field(repr=False)
    base_url: str = DEFAULT_BASE_URL
    project: str | None = None
    connect_timeout: float = 5.0
    read_timeout: float = 60.0
    verify_tls: bool | str = True
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    user_agent: str = "airflow-provider-kernel"
    dashboard_url: str = DEFAULT_DASHBOARD_URL
    source: ConfigSource | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.api_key, str) or not self.api_key.strip():
            raise KernelConfigurationError(
                "There is no API key: put it into the API key (password) of the Airflow connection; where "
                "kernel_default is no connection, into KERNEL_API_KEY"
            )
        # A key is often pasted with the line break behind it.
        object.__setattr__(self, "api_key", self.api_key.strip())
        _require_header_text("The API key", self.api_key, show=False)
        if len(self.api_key) < MIN_KEY_LENGTH:
            raise KernelConfigurationError(
                f"The API key is too short: a key has {MIN_KEY_LENGTH} characters at least. Put the whole key into "
                "the API key (password) of the Airflow connection; where kernel_default is no connection, into "
                "KERNEL_API_KEY"
            )
        register_key(self.api_key)
        object.__setattr__(self, "base_url", normalise_base_url(self.base_url))
        object.__setattr__(self, "dashboard_url", check_template(self.dashboard_url))
        if self.project is not None:
            _require_header_text("project", self.project, show=True)
        for name in ("connect_timeout", "read_timeout"):
            value = getattr(self, name)
            if not is_number(value) or value <= 0:
                raise KernelConfigurationError(f"{name} is {value!r}; it takes a number of seconds above 0")

    def __copy__(self) -> KernelConfig:
        return self  # nothing of it can change

    def __deepcopy__(self, memo: dict[int, object]) -> KernelConfig:
        return self

    @property
    def access(self) -> tuple[str, str, str | None]:
        """What Kernel may refuse: key, base URL and project."""
        return self.api_key, self.base_url, self.project

    def renewed(self) -> KernelConfig:
        """Return these settings with the newest key, base URL and project that their source knows."""
        newest = None if self.source is None else self.source.newest
        if newest is None or newest.access == self.access:
            return self
        return replace(self, api_key=newest.api_key, base_url=newest.base_url, project=newest.project)

    def headers(self) -> dict[str, str]:
        headers = {
            "Authorization": f"Bearer {self.api_key}",
            "Accept": "application/json",
            "User-Agent": self.user_agent,
        }
        if self.project is not None:
            headers["X-Kernel-Project"] = self.project
        return headers


def _require_header_text(what: str, value: str, *, show: bool) -> None:
    """Refuse what cannot stand in an HTTP header, without echoing secrets."""
    if not value or not value.isascii() or not value.isprintable() or value != value.strip():
        given = f" {short_repr(value)}" if show else ""
        raise KernelConfigurationError(
            f"{what}{given} cannot be sent in an HTTP header: it takes printable ASCII characters, "
            "with no line break, and no space at either end"
        )
    if len(value) > _LONGEST_HEADER:
        raise KernelConfigurationError(f"{what} has {len(value)} characters; it takes {_LONGEST_HEADER} at most")
