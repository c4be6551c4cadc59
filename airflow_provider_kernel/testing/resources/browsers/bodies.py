"""The checks of the bodies of create and update."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_kernel.testing.errors import invalid

_NAME = re.compile(r"[a-zA-Z0-9._-]{1,255}", re.ASCII)
_TAG_KEY = re.compile(r"[A-Za-z0-9 _.:/=+@-]{1,128}", re.ASCII)
_TAG_VALUE = re.compile(r"[A-Za-z0-9 _.:/=+@-]{0,256}", re.ASCII)

Check = Callable[[Any], bool]


def check_create(body: Mapping[str, Any], *, refuse_unknown: bool) -> None:
    """
    Check the body of `POST /browsers`.

    :raises ApiError: 400.
    """
    _check(body, _CREATE, refuse_unknown=refuse_unknown)
    if "proxy" in body and "proxy_id" in body:
        raise invalid("proxy and proxy_id exclude each other")


def check_update(body: Mapping[str, Any], *, refuse_unknown: bool) -> None:
    """
    Check the body of `PATCH /browsers/{id_or_name}`.

    :raises ApiError: 400.
    """
    _check(body, _UPDATE, refuse_unknown=refuse_unknown)


def _check(body: Mapping[str, Any], checks: Mapping[str, Check], *, refuse_unknown: bool) -> None:
    for name, value in body.items():
        if name not in checks:
            if refuse_unknown:
                raise invalid(f"Unknown field: {name}; the fields are {', '.join(checks)}")
        elif not checks[name](value):
            raise (
                invalid(f"{name} is invalid", code="invalid_tags")
                if name == "tags"
                else invalid(f"{name} is invalid")
            )


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_whole(value: Any, least: int, most: float = float("inf")) -> bool:
    # To JSON, 60.0 is a whole number too.
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and least <= value <= most
        and value == int(value)
    )


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_tags(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and len(value) <= 50
        and all(_TAG_KEY.fullmatch(key) for key in value)
        and all(isinstance(text, str) and _TAG_VALUE.fullmatch(text) for text in value.values())
    )


def _is_reference(value: Any) -> bool:
    if not isinstance(value, dict) or ("id" in value) == ("name" in value):
        return False
    if "id" in value and not isinstance(value["id"], str):
        return False
    return "name" not in value or _is_name(value["name"])


def _is_profile(value: Any) -> bool:
    return _is_reference(value) and _is_flag(value.get("save_changes", False))


def _is_proxy(value: Any) -> bool:
    if not isinstance(value, dict) or len(value) != 1:
        return False
    ((kind, text),) = value.items()
    if not isinstance(text, str) or not text:
        return False
    return kind in ("id", "name") or (kind == "mode" and text in ("direct", "default"))


def _is_viewport(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and {"width", "height"} <= value.keys()
        and all(_is_whole(value[key], 1) for key in ("width", "height", "refresh_rate") if key in value)
    )


def _is_extensions(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 20 and all(_is_reference(each) for each in value)


def _is_network(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    hosts = value.get("allowed_hosts", ["*"])
    return isinstance(hosts, list) and bool(hosts) and all(isinstance(host, str) for host in hosts)


def _or_null(check: Check) -> Check:
    return lambda value: value is None or check(value)


_CREATE: dict[str, Check] = {
    "invocation_id": _is_text,
    "name": _is_name,
    "tags": _is_tags,
    "stealth": _is_flag,
    "headless": _is_flag,
    "gpu": _is_flag,
    "timeout_seconds": lambda value: _is_whole(value, 10, 259_200),
    "profile": _is_profile,
    "extensions": _is_extensions,
    "proxy_id": _is_text,
    "proxy": _is_proxy,
    "viewport": _is_viewport,
    "kiosk_mode": _is_flag,
    "start_url": _is_text,
    "chrome_policy": _is_object,
    "telemetry": _or_null(_is_object),
    "region": lambda value: value in ("us-east", "us-west", "eu-west", "ap-southeast"),
    "memory": lambda value: value in ("1GiB", "2GiB", "4GiB", "8GiB", "16GiB"),
    "video_memory": lambda value: value in ("2GiB", "4GiB"),
    "location": _is_object,
    "network": _is_network,
    "vaults": lambda value: isinstance(value, list) and all(_is_reference(each) for each in value),
}

_UPDATE: dict[str, Check] = {
    "name": _or_null(lambda value: value == "" or _is_name(value)),
    "tags": _or_null(_is_tags),
    "proxy_id": _or_null(_is_text),
    "disable_default_proxy": _is_flag,
    "proxy": _is_proxy,
    "profile": _is_profile,
    "viewport": _is_viewport,
    "telemetry": _or_null(_is_object),
    "start_url": _is_text,
    "network": _is_object,
    "location": _is_object,
}
