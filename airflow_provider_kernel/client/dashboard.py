"""Links to Kernel's dashboard. Kernel documents no page of an invocation, so they come from a template."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

from airflow_provider_kernel.client.errors import KernelConfigurationError

PLACEHOLDERS = ("invocation_id", "app_name", "session_id")

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def check_template(given: str) -> str:
    """
    Check a template of links to the dashboard.

    :param given: an address such as ``https://dashboard.onkernel.com/browsers/{session_id}``.
    :raises KernelConfigurationError: when it is no http address, or names other placeholders.
    """
    template = given.strip()
    try:
        url = urlsplit(template)
        _ = url.port
    except ValueError as error:
        raise _unusable(template, f"it is no URL ({error})") from None
    if "@" in url.netloc:
        # What precedes an "@" may be a secret: never echo it.
        raise _unusable("…@" + template.rpartition("@")[2], "it holds credentials, and everybody would see them")
    if url.scheme not in ("http", "https"):
        raise _unusable(template, "a link starts with http:// or https://")
    if not url.hostname or "{" in url.netloc or "}" in url.netloc:
        raise _unusable(template, "it needs a host that is the same for every invocation")
    if not template.isprintable() or any(c.isspace() for c in template):
        raise _unusable(template, "it holds white space or characters that cannot be seen")
    unknown = [name for name in _PLACEHOLDER.findall(template) if name not in PLACEHOLDERS]
    if unknown:
        raise _unusable(template, f"it names {', '.join(f'{{{name}}}' for name in unknown)}")
    if any(brace in _PLACEHOLDER.sub("", template) for brace in "{}"):
        raise _unusable(template, "it holds a brace that belongs to no placeholder")
    return template


def _unusable(shown: str, problem: str) -> KernelConfigurationError:
    allowed = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    return KernelConfigurationError(
        f"dashboard_url {shown!r} cannot be used: {problem}. Give an http or https address; "
        f"it may hold {allowed}, in its path, query or fragment"
    )


def needs_browser(template: str) -> bool:
    """Tell whether links need the id of a browser session, which takes a request to get."""
    return "{session_id}" in template


def dashboard_link(
    template: str, invocation_id: str, *, app_name: str | None = None, session_id: str | None = None
) -> str | None:
    """
    Fill in the template. At the first unknown value, the link is cut to the parent page.

    A link that names nothing of the invocation leads nowhere in particular: it is None.
    """
    known = {"invocation_id": invocation_id, "app_name": app_name, "session_id": session_id}
    link, end, first_value_at = "", 0, None
    for place in _PLACEHOLDER.finditer(template):
        link += template[end : place.start()]
        value = known[place.group(1)]
        if not value or value in (".", ".."):
            above = urlsplit(link)
            link = f"{above.scheme}://{above.netloc}{above.path[: above.path.rfind('/') + 1]}"
            return None if first_value_at is None or first_value_at >= len(link) else link
        first_value_at = len(link) if first_value_at is None else first_value_at
        # A slash is quoted too: a value is one segment of the path.
        link += quote(value, safe="", errors="replace")
        end = place.end()
    return None if first_value_at is None else link + template[end:]
