"""
The arguments of a browser, the same wherever a task uses one: check, default and meaning of each.

One table: it is the check when a DAG is parsed, and a page of the documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from airflow_provider_kernel.argument_checks import (
    Check,
    check_count,
    check_script_args,
    leave_to_airflow,
    or_none,
)
from airflow_provider_kernel.arguments import JSON_TEXT_HAS_NO_ITEMS, OUTPUT, TABLE, Arguments, Conflict
from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.client.resources.browsers.options import (
    DEFAULT_IDLE_TIMEOUT,
    DEFAULT_START_TIMEOUT,
    MAX_TAGS,
    check_boolean,
    check_code,
    check_extensions,
    check_hosts,
    check_idle_timeout,
    check_proxy,
    check_reference,
    check_region,
    check_script_seconds,
    check_start_timeout,
    check_start_url,
    check_tags,
    check_viewport,
)
from airflow_provider_kernel.client.sanitize import short_repr
from airflow_provider_kernel.client.validation import check_name

#: What the keys of the tags begin with that say which task owns a browser.
OWNER_TAG_PREFIX = "airflow_"
#: How many tags of a user go together with those of the owner.
MAX_USER_TAGS = MAX_TAGS - 9


class BrowserArgument(NamedTuple):
    """
    One argument.

    :param type: what it takes, for the documentation.
    :param meaning: what it does.
    :param is_templated: whether it is a template field.
    """

    check: Check
    type: str
    default: Any
    meaning: str
    is_templated: bool = True


def check_user_tags(what: str, value: Any) -> None:
    """
    Refuse tags that Kernel cannot take, and those that do not go together with those of the owner.

    :raises KernelInputError: for such tags.
    """
    tags = check_tags(what, value)
    if taken := [key for key in tags if key.startswith(OWNER_TAG_PREFIX)]:
        raise KernelInputError(
            f"{what} has {short_repr(taken[0])}; keys that begin with {OWNER_TAG_PREFIX} say which task owns the "
            "browser. Choose another key"
        )
    if len(tags) > MAX_USER_TAGS:
        raise KernelInputError(
            f"{what} has {len(tags)} entries; it takes {MAX_USER_TAGS} at most beside those of the owner"
        )


BROWSER_ARGUMENTS: dict[str, BrowserArgument] = {
    "headless": BrowserArgument(
        check_boolean, "bool", True, "without a screen: an eighth of the price, no live view, no replay", False
    ),
    "stealth": BrowserArgument(
        check_boolean, "bool", False, "with Kernel's measures against bot detection, and its proxy", False
    ),
    "profile": BrowserArgument(
        or_none(check_reference), 'name, or `{"id": "..."}`', None, "whose cookies and local storage to load"
    ),
    "save_profile": BrowserArgument(
        check_boolean, "bool", False, "overwrite the profile when the browser ends, however it ends", False
    ),
    "proxy": BrowserArgument(
        or_none(check_proxy), 'name, `{"id": "..."}` or `{"mode": "direct"}`', None, "how its traffic leaves Kernel"
    ),
    "viewport": BrowserArgument(
        or_none(check_viewport),
        "`(width, height)`",
        None,
        "the size of its window, in pixels; Kernel's: 1920 x 1080",
    ),
    "extensions": BrowserArgument(check_extensions, "list of names or ids", (), "stored extensions to load"),
    "region": BrowserArgument(or_none(check_region), "`us-east`, `us-west`, ...", None, "where it runs"),
    "start_url": BrowserArgument(
        or_none(check_start_url), "address", None, "what it opens, without waiting for it"
    ),
    "allowed_hosts": BrowserArgument(
        check_hosts, "list of hosts", (), "the only hosts that it may reach; empty: all"
    ),
    "idle_timeout": BrowserArgument(
        check_idle_timeout,
        "seconds or timedelta, 10 to 259200",
        DEFAULT_IDLE_TIMEOUT,
        "after how long without a client Kernel ends it: the last backstop, when nothing of Airflow is left",
    ),
    "tags": BrowserArgument(
        or_none(check_user_tags), "mapping", None, "your own labels, beside those of the owner"
    ),
    "start_timeout": BrowserArgument(
        check_start_timeout,
        "seconds or timedelta",
        DEFAULT_START_TIMEOUT,
        "for how long to wait while Kernel has no place for it",
        False,
    ),
}

_CHECKS: dict[str, Check] = {name: argument.check for name, argument in BROWSER_ARGUMENTS.items()}

#: The template fields that a browser adds to an operator.
TEMPLATED = tuple(name for name, argument in BROWSER_ARGUMENTS.items() if argument.is_templated)


def _saves_nothing(values: Mapping[str, Any]) -> bool:
    # The arguments of a mapped task may name it later.
    return values.get("save_profile") is True and "profile" in values and values["profile"] is None


_CONFLICTS = (Conflict(_saves_nothing, "save_profile=True needs a profile: name the one to save to"),)

TABLE.update(
    {
        "KernelBrowserTaskOperator": Arguments(
            {
                **_CHECKS,
                "python_callable": leave_to_airflow,
                "op_args": leave_to_airflow,
                "op_kwargs": leave_to_airflow,
                "kernel_conn_id": check_name,
            },
            conflicts=_CONFLICTS,
        ),
        "KernelPlaywrightOperator": Arguments(
            {
                "code": check_code,
                "args": check_script_args,
                "timeout": check_script_seconds,
                "max_log_lines": check_count,
                **OUTPUT,
                **_CHECKS,
                "kernel_conn_id": check_name,
            },
            conflicts=(JSON_TEXT_HAS_NO_ITEMS, *_CONFLICTS),
        ),
    }
)
