"""
The arguments of a browser and of a script in it, and the body of the create request.

A text is a name, ``{"id": "..."}`` an id. Each check says what was given and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.client.sanitize import short_repr
from airflow_provider_kernel.client.validation import is_number, is_unicode, is_whole_number

DEFAULT_IDLE_TIMEOUT = 300
DEFAULT_START_TIMEOUT = 120.0
#: In seconds; 72 hours at most.
IDLE_TIMEOUTS = (10, 259_200)
REGIONS = ("us-east", "us-west", "eu-west", "ap-southeast")
DEFAULT_SCRIPT_SECONDS = 60
#: Kernel's own limit of a script.
MAX_SCRIPT_SECONDS = 300
MAX_TAGS = 50
MAX_EXTENSIONS = 20

# Compiled when they are first used: a DAG file that names no profile and no tag does not pay for them.
_NAME = r"[a-zA-Z0-9._-]{1,255}"
_TAG_KEY = r"[A-Za-z0-9 _.:/=+@-]{1,128}"
_TAG_VALUE = r"[A-Za-z0-9 _.:/=+@-]{0,256}"

#: A name, or ``{"id": ...}`` or ``{"name": ...}``.
Reference = str | Mapping[str, str]


def browser_body(
    *,
    headless: bool = True,
    stealth: bool = False,
    profile: Reference | None = None,
    save_profile: bool = False,
    proxy: Reference | None = None,
    viewport: Sequence[int] | Mapping[str, int] | None = None,
    extensions: Sequence[Reference] = (),
    region: str | None = None,
    start_url: str | None = None,
    allowed_hosts: Sequence[str] = (),
    idle_timeout: float | timedelta = DEFAULT_IDLE_TIMEOUT,
    tags: Mapping[str, str] | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """
    Build the body of a create request.

    :param headless: without a screen: an eighth of the price, but no live view and no replay.
    :param stealth: with Kernel's measures against bot detection, and its proxy unless ``proxy`` says otherwise.
    :param profile: whose cookies and local storage to load.
    :param save_profile: whether the profile is overwritten when the browser ends, however it ends.
    :param proxy: a name or id; ``{"mode": "direct"}`` for none.
    :param viewport: width and height, or ``{"width", "height", "refresh_rate"}``.
    :param extensions: stored extensions to load.
    :param region: where it runs.
    :param start_url: what it opens, without waiting for it.
    :param allowed_hosts: the only hosts that it may reach, such as ``"*.example.com"``; empty: all.
    :param idle_timeout: after how long without a client Kernel ends it, in seconds.
    :param tags: labels to find it by.
    :param name: unique among the active browsers of the project.
    :raises KernelInputError: for an argument that Kernel cannot take.
    """
    body: dict[str, Any] = {
        "headless": check_boolean("headless", headless),
        "stealth": check_boolean("stealth", stealth),
        "timeout_seconds": check_idle_timeout("idle_timeout", idle_timeout),
    }
    if profile is not None:
        body["profile"] = check_reference("profile", profile)
    if check_boolean("save_profile", save_profile):
        if profile is None:
            raise KernelInputError("save_profile is True, but there is no profile; name the profile to save to")
        body["profile"]["save_changes"] = True
    if proxy is not None:
        body["proxy"] = check_proxy("proxy", proxy)
    if viewport is not None:
        body["viewport"] = check_viewport("viewport", viewport)
    if wanted := check_extensions("extensions", extensions):
        body["extensions"] = wanted
    if region is not None:
        body["region"] = check_region("region", region)
    if start_url is not None:
        body["start_url"] = check_start_url("start_url", start_url)
    if hosts := check_hosts("allowed_hosts", allowed_hosts):
        body["network"] = {"allowed_hosts": hosts}
    if tags:
        body["tags"] = check_tags("tags", tags)
    if name is not None:
        body["name"] = check_browser_name("name", name)
    return body


def check_boolean(what: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _refused(what, value, "True or False")
    return value


def check_idle_timeout(what: str, value: Any) -> int:
    """Return whole seconds."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    least, most = IDLE_TIMEOUTS
    if not is_number(seconds) or not least <= seconds <= most or seconds != int(seconds):
        raise _refused(what, value, f"whole seconds from {least} to {most}, or a timedelta")
    return int(seconds)


def check_start_timeout(what: str, value: Any) -> float:
    """Return seconds."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not is_number(seconds) or seconds < 0:
        raise _refused(what, value, "seconds from 0, or a timedelta")
    return float(seconds)


def check_reference(what: str, value: Any) -> dict[str, Any]:
    """Return ``{"name": ...}`` or ``{"id": ...}``."""
    allowed = 'a name of A-Z, a-z, 0-9, "." "_" and "-", or {"id": "..."}'
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, Mapping) or len(value) != 1 or not _is_text(next(iter(value.values()))):
        raise _refused(what, value, allowed)
    ((kind, text),) = value.items()
    if kind not in ("name", "id") or (kind == "name" and not re.fullmatch(_NAME, text)):
        raise _refused(what, value, allowed)
    return {kind: text}


def check_proxy(what: str, value: Any) -> dict[str, Any]:
    allowed = 'a name, {"id": "..."}, or {"mode": "direct"} or {"mode": "default"}'
    if isinstance(value, str):
        value = {"name": value}
    if isinstance(value, Mapping) and len(value) == 1:
        ((kind, text),) = value.items()
        if _is_text(text) and (kind in ("name", "id") or (kind == "mode" and text in ("direct", "default"))):
            return {kind: text}
    raise _refused(what, value, allowed)


def check_viewport(what: str, value: Any) -> dict[str, int]:
    allowed = "(width, height) in pixels, or a mapping of width, height and refresh_rate"
    if isinstance(value, Mapping):
        sizes = dict(value)
    elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)) and len(value) == 2:
        sizes = {"width": value[0], "height": value[1]}
    else:
        raise _refused(what, value, allowed)
    known = {"width", "height"} <= sizes.keys() <= {"width", "height", "refresh_rate"}
    if not known or not all(is_whole_number(size) and size > 0 for size in sizes.values()):
        raise _refused(what, value, allowed)
    return sizes


def check_extensions(what: str, value: Any) -> list[dict[str, Any]]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Sequence):
        raise _refused(what, value, 'a list of names or {"id": "..."}')
    if len(value) > MAX_EXTENSIONS:
        raise KernelInputError(f"{what} has {len(value)} entries; it takes {MAX_EXTENSIONS} at most")
    return [check_reference(what, each) for each in value]


def check_region(what: str, value: Any) -> str:
    if value not in REGIONS:
        raise _refused(what, value, f"one of {', '.join(REGIONS)}")
    return str(value)


def check_start_url(what: str, value: Any) -> str:
    if not _is_text(value):
        raise _refused(what, value, "an address")
    return str(value)


def check_hosts(what: str, value: Any) -> list[str]:
    is_list = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    if not is_list or not all(_is_text(host) for host in value):
        raise _refused(what, value, 'a list of hosts, such as ["*.example.com"]')
    return list(value)


def check_tags(what: str, value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise _refused(what, value, "a mapping of text to text")
    if len(value) > MAX_TAGS:
        raise KernelInputError(f"{what} has {len(value)} entries; it takes {MAX_TAGS} at most")
    for key, text in value.items():
        if not is_tag_key(key) or not is_tag_value(text):
            raise KernelInputError(
                f"{what} has {short_repr(key)}: {short_repr(text)}; keys take 1 to 128 and values 0 to 256 "
                'letters, digits, spaces and "_.:/=+@-"'
            )
    return dict(value)


def check_browser_name(what: str, value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(_NAME, value):
        raise _refused(what, value, 'a name of 1 to 255 of A-Z, a-z, 0-9, "." "_" and "-"')
    return value


def check_code(what: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or not is_unicode(value):
        raise KernelInputError(f"{what} is {short_repr(value)}; it takes text that can be sent as UTF-8")
    return value


def check_script_seconds(what: str, value: Any) -> int:
    if not is_number(value) or value != int(value) or not 1 <= value <= MAX_SCRIPT_SECONDS:
        raise KernelInputError(
            f"{what} is {short_repr(value)}; Kernel runs a script for whole seconds from 1 to {MAX_SCRIPT_SECONDS}"
        )
    return int(value)


def is_tag_key(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(_TAG_KEY, value) is not None


def is_tag_value(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(_TAG_VALUE, value) is not None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and is_unicode(value)


def _refused(what: str, value: Any, allowed: str) -> KernelInputError:
    return KernelInputError(f"{what} is {short_repr(value)}; it takes {allowed}")
