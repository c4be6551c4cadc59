"""Names and addresses of hosts, checked before a socket refuses them with an error that names no setting."""

from __future__ import annotations

import ipaddress


def can_be_a_host(hostname: str) -> bool:
    """
    Tell whether a text can be the name or the address of a host.

    :param hostname: an IPv6 address without brackets.
    """
    if ":" in hostname:
        return _is_ipv6(hostname)
    labels = hostname.removesuffix(".").split(".")
    return len(hostname) < 254 and all(_can_be_a_label(label) for label in labels)


def _can_be_a_label(label: str) -> bool:
    if not all(c.isalnum() or c in "-_" for c in label):
        return False
    # What is not ASCII is sent in another form, which is longer.
    length = len(label) if label.isascii() else len("xn--") + len(label.encode("punycode"))
    return 0 < length < 64


def with_brackets(host: str) -> str:
    """Put the brackets of a URL around an IPv6 address that has none, with or without a scheme before it."""
    scheme, separator, address = host.rpartition("://")
    bare = address.rstrip("/")
    return f"{scheme}{separator}[{bare}]" if _is_ipv6(bare) else host


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
