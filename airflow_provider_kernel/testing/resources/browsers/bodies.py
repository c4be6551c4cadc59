"""The bodies of the requests that make and change a browser: which fields there are, and what each takes."""

from __future__ import annotations

from typing import Any

from airflow_provider_kernel.testing.errors import ApiError, invalid
from airflow_provider_kernel.testing.shapes import (
    Check,
    any_object,
    boolean,
    choice,
    fields,
    items,
    mapping,
    maybe,
    text,
    whole,
)

REGIONS = ("us-east", "us-west", "eu-west", "ap-southeast")
IDLE_SECONDS = 60
NAME = r"[a-zA-Z0-9._-]{1,255}"

_SOME_TAGS = mapping(text(r"[A-Za-z0-9 _.:/=+@-]{1,128}"), text(r"[A-Za-z0-9 _.:/=+@-]{0,256}"), most=50)


def _tags(name: str, value: Any) -> None:
    try:
        _SOME_TAGS(name, value)
    except ApiError as error:
        raise invalid(error.message, code="invalid_tags") from None


_SIZE = {"width": whole(1), "height": whole(1), "refresh_rate": whole(1)}
_REFERENCE = {"id": text(), "name": text(NAME)}
_PROFILE = fields({**_REFERENCE, "save_changes": boolean}, exactly_one=("id", "name"))
_PROXY = fields(
    {"mode": choice("direct", "default"), "id": text(least=1), "name": text(least=1)},
    exactly_one=("mode", "id", "name"),
    closed=True,
)
_SWITCH = fields({"enabled": boolean})
_CONTROL = fields({"enabled": boolean, "cdp": fields({"excluded_methods": items(text())})})
_CATEGORIES = ("console", "page", "interaction", "network", "connection", "system", "screenshot", "captcha")
_OTLP = fields(
    {"enabled": boolean, "destination": fields({"id": text(), "name": text()}, exactly_one=("id", "name"))}
)
_TELEMETRY = fields(
    {
        "enabled": boolean,
        "export": fields({"otlp": _OTLP}),
        "browser": fields({**dict.fromkeys((*_CATEGORIES, "platform"), _SWITCH), "control": _CONTROL}),
        "storage": _SWITCH,
    }
)
_NETWORK = fields(
    {
        "allowed_hosts": items(text(), least=1),
        "private_hosts": items(text()),
        "proxy_routes": items(
            fields(
                {"hosts": items(text()), "proxy": fields({"id": text(), "name": text()})},
                required=("hosts", "proxy"),
            )
        ),
        "allowlist_state": fields(
            {"revision": text(), "base_revision": text(), "mutation_id": text()}, required=("revision",)
        ),
    }
)

#: The fields of `POST /browsers`.
CREATE: dict[str, Check] = {
    "name": text(NAME),
    "tags": _tags,
    "headless": boolean,
    "stealth": boolean,
    "timeout_seconds": whole(10, 259_200),
    "profile": _PROFILE,
    "proxy": _PROXY,
    "proxy_id": text(),
    "viewport": fields(_SIZE, required=("width", "height")),
    "extensions": items(fields(_REFERENCE, exactly_one=("id", "name")), most=20),
    "region": choice(*REGIONS),
    "start_url": text(),
    "network": _NETWORK,
    "invocation_id": text(),
    "gpu": boolean,
    "kiosk_mode": boolean,
    "chrome_policy": any_object,
    "telemetry": maybe(_TELEMETRY),
    "memory": choice("1GiB", "2GiB", "4GiB", "8GiB", "16GiB"),
    "video_memory": choice("2GiB", "4GiB"),
    "location": fields({"timezone": text(), "locale": text()}),
    "vaults": items(fields({"id": text(), "name": text()})),
}

#: The fields of `PATCH /browsers/{id_or_name}`; the idle limit is not among them.
UPDATE: dict[str, Check] = {
    "name": maybe(text(r"[a-zA-Z0-9._-]{0,255}")),
    "tags": maybe(_tags),
    "proxy": _PROXY,
    "proxy_id": maybe(text()),
    "disable_default_proxy": boolean,
    "profile": _PROFILE,
    "viewport": fields({**_SIZE, "force": boolean}, required=("width", "height")),
    "telemetry": maybe(_TELEMETRY),
    "start_url": text(),
    "network": fields(
        {"allowed_hosts": maybe(items(text())), "expected_allowlist_revision": text(), "mutation_id": text()}
    ),
    "location": fields({"timezone": maybe(text()), "locale": maybe(text())}),
}

check_create = fields(CREATE)
check_update = fields(UPDATE)
