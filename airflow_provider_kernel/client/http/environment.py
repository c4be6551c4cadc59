"""
The environment variables that the transport reads: those of proxies, and those of certificates.

A value that cannot work is a configuration error that names the variable. The value of a proxy is never shown: it
may hold a password.
"""

from __future__ import annotations

import importlib.util
import os
import re
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from airflow_provider_kernel.client.errors import KernelConfigurationError
from airflow_provider_kernel.client.hosts import can_be_a_host
from airflow_provider_kernel.client.sanitize import sanitize_line, short_repr


def check_proxies() -> None:
    """
    Check the proxies that the environment names.

    :raises KernelConfigurationError: naming the variable of one that cannot work.
    """
    proxies = getproxies()
    if "*" in (host.strip() for host in proxies.get("no", "").split(",")):
        return  # no proxy is used at all
    for kind in ("http", "https", "all"):
        problem = _problem_of(proxies[kind]) if proxies.get(kind) else None
        if problem:
            raise KernelConfigurationError(
                f"{_variable(kind)} {problem}. It takes the URL of a proxy, such as http://proxy.example.com:3128"
            )


def proxies_refused() -> KernelConfigurationError:
    """Build the error for variables that the transport refuses although each proxy could be one."""
    if getproxies().get("no"):
        return KernelConfigurationError(
            f"{_variable('no')} has an entry that cannot be read. "
            "It takes names of hosts, domains and addresses without brackets or ranges, separated by commas"
        )
    return KernelConfigurationError("the proxies that this machine's settings name cannot be used")


def advice_of_tls_proxy(base_url: str) -> str | None:
    """Say what to do if TLS fails on the way to a proxy whose own URL has https; ``None`` where there is none."""
    url, proxies = urlsplit(base_url), getproxies()
    kind = url.scheme if proxies.get(url.scheme) else "all"
    if not proxies.get(kind, "").startswith("https://") or proxy_bypass(url.netloc):
        return None
    return f"{_variable(kind)} names a proxy with https://; if it speaks plain http, as most do, write http://"


def _problem_of(proxy: str) -> str | None:
    scheme, _, rest = (proxy if "://" in proxy else f"http://{proxy}").partition("://")
    # Without user and password, in which urlsplit() refuses characters that work.
    address = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
    try:
        url = urlsplit(f"{scheme}://{address}")
        hostname = url.hostname
    except ValueError:
        return "is no URL"
    try:
        port = url.port
    except ValueError:
        port = 0
    if url.scheme not in ("http", "https", "socks5", "socks5h"):
        return "has a scheme other than http, https, socks5 and socks5h"
    if url.scheme.startswith("socks5") and importlib.util.find_spec("socksio") is None:
        return "names a SOCKS proxy, and the package socksio is missing: install httpx[socks]"
    if not proxy.isprintable() or not hostname or not can_be_a_host(hostname):
        return "names no host"
    if port == 0:
        return "has a port that is no number from 1 to 65535"
    return None


def _variable(kind: str) -> str:
    """Name the variable that is read: one in lower case goes first."""
    name = f"{kind}_proxy"
    if os.environ.get(name):
        return name
    return next((each for each in os.environ if each.lower() == name), name.upper())


#: The variables of certificates, and what each takes.
_TAKES = {
    "SSL_CERT_FILE": "the path of a readable CA bundle",
    "SSL_CERT_DIR": "the path of a directory of CA certificates",
    "SSLKEYLOGFILE": "the path of a file that can be written",
}


def check_certificates() -> None:
    """
    Check the certificates that the environment names: what does not exist may be ignored silently.

    OpenSSL does so with ``SSL_CERT_DIR``, and httpx before 0.28 with ``SSL_CERT_FILE``.

    :raises KernelConfigurationError: naming the variable.
    """
    file, directories = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file:
        if not os.path.exists(file):
            raise _refused("SSL_CERT_FILE")
    elif directories and not any(map(os.path.isdir, directories.split(os.pathsep))):
        raise _refused("SSL_CERT_DIR")


def certificates_refused(verify: bool | str, error: Exception) -> KernelConfigurationError:
    """Build the error for certificates that cannot be loaded."""
    reason = sanitize_line(str(error), 100)
    if verify is True:
        for name in _TAKES:
            if os.environ.get(name):
                return _refused(name, f": {reason}")
    return KernelConfigurationError(
        f"verify_tls is {short_repr(verify)}; it takes true, false, or the path of a readable CA bundle: {reason}"
    )


def _refused(name: str, reason: str = "") -> KernelConfigurationError:
    return KernelConfigurationError(f"{name} is {short_repr(os.environ[name])}; it takes {_TAKES[name]}{reason}")
