"""Build a client's configuration from an Airflow connection or from the environment."""

from __future__ import annotations

import functools
import json
import os
import re
from typing import TYPE_CHECKING, Any

from airflow_provider_kernel import __version__
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.defaults import DEFAULT_BASE_URL
from airflow_provider_kernel.client.errors import KernelConfigurationError
from airflow_provider_kernel.client.hosts import with_brackets
from airflow_provider_kernel.client.redaction import printed_forms
from airflow_provider_kernel.client.retry import RetryPolicy
from airflow_provider_kernel.client.sanitize import short_repr
from airflow_provider_kernel.client.validation import is_number, is_whole_number
from airflow_provider_kernel.connection_form import DEFAULT_CONN_ID, EXTRA_FIELDS, ExtraField
from airflow_provider_kernel.hooks.names import nearest_name, shown_names

if TYPE_CHECKING:
    from airflow.sdk import Connection


def forms_to_mask(connection: Connection | None) -> list[str]:
    """
    Give the forms of the API key that a log may hold and that Airflow does not mask itself.

    Airflow masks the password of a connection as it is stored. It does not know a key of the environment, nor the
    key without the line break behind it, nor how a key with special characters is printed.
    """
    stored = connection.password if connection else None
    key = stored if connection else os.environ.get("KERNEL_API_KEY")
    if not isinstance(key, str) or not key.strip():
        return []
    return [form for form in printed_forms(key.strip()) if form != stored]


def config_from_connection(connection: Connection) -> KernelConfig:
    """
    Read a connection: the password is the API key, host and port are the base URL, the extra holds the rest.

    :raises KernelConfigurationError: when a field is invalid. The message names the connection, the field, its
        value and the allowed values, but never the key.
    """
    try:
        extra = _extra(connection)
        return KernelConfig(
            api_key=_api_key(connection.password),
            base_url=_base_url(connection),
            project=extra["project"],
            connect_timeout=extra["connect_timeout"],
            read_timeout=extra["read_timeout"],
            verify_tls=_verify_tls(extra["verify_tls"]),
            retry=RetryPolicy(max_attempts=extra["max_attempts"], max_seconds=extra["max_retry_seconds"]),
            user_agent=user_agent(),
            dashboard_url=extra["dashboard_url"],
        )
    except KernelConfigurationError as error:
        raise KernelConfigurationError(f"Airflow connection {connection.conn_id!r}: {error}") from None


def owner_from_connection(connection: Connection | None) -> str | None:
    """Read which Airflow a connection says that this is; ``None`` if it does not say so."""
    return None if connection is None else _extra(connection)["owner"]


def config_from_environment() -> KernelConfig | None:
    """
    Read ``KERNEL_API_KEY``, ``KERNEL_BASE_URL`` and ``KERNEL_PROJECT``, which Kernel's own tools use too.

    :return: ``None`` when the environment holds no key.
    """
    key = os.environ.get("KERNEL_API_KEY")
    if not key:
        return None
    return KernelConfig(
        api_key=key,
        base_url=os.environ.get("KERNEL_BASE_URL") or DEFAULT_BASE_URL,
        project=os.environ.get("KERNEL_PROJECT") or None,
        user_agent=user_agent(),
    )


def no_connection(conn_id: str, *, has_key: bool) -> KernelConfigurationError:
    """
    Make the error for a connection that is not there, and that the environment does not replace.

    :param has_key: whether the environment holds a key.
    """
    if has_key:
        why = f", and KERNEL_API_KEY of the environment only stands in for {DEFAULT_CONN_ID!r}"
    else:
        why = ", and no KERNEL_API_KEY in the environment" if conn_id == DEFAULT_CONN_ID else ""
    return KernelConfigurationError(
        f"There is no Airflow connection {conn_id!r}{why}."
        " Create a connection of type 'Kernel' with the API key as its password (Admin > Connections, or "
        f"`airflow connections add {conn_id} --conn-type kernel --conn-password ...`)"
    )


@functools.cache
def user_agent() -> str:
    from airflow import __version__ as airflow_version

    return f"airflow-provider-kernel/{__version__} apache-airflow/{airflow_version}"


def _api_key(password: Any) -> str:
    if password is not None and not isinstance(password, str):
        # The message leaves the value out: it may still be the key.
        raise KernelConfigurationError(
            f"the password is of type {type(password).__name__}; it takes the API key, as text"
        )
    return password or ""


def _base_url(connection: Connection) -> str:
    # Airflow does not check the types of a connection from the environment.
    given: Any = connection.host
    if given is not None and not isinstance(given, str):
        raise KernelConfigurationError(f"the host is {short_repr(given)}; it takes text")
    port: Any = connection.port
    if port and (not is_whole_number(port) or not 0 < port < 65536):
        raise KernelConfigurationError(f"the port is {short_repr(port)}; it takes a number from 1 to 65535")
    host = (given or "").strip() or DEFAULT_BASE_URL
    if "://" not in host and connection.schema in ("http", "https"):
        host = f"{connection.schema}://{host}"
    # Airflow takes the brackets of an IPv6 address away when it reads a URI.
    host = with_brackets(host)
    # Port 0 means unset: Airflow's Test button sends 0 for an empty port, and only works if one is stored.
    if connection.port:
        bare = host.rstrip("/")
        authority = bare.rpartition("://")[2]
        named = re.search(r":(\d*)$", authority.rpartition("]")[2])
        # A host with credentials is refused later, with an error that does not show them.
        if named and "@" not in authority:
            if named.group(1) == str(connection.port):
                return host
            raise KernelConfigurationError(
                f"the host {short_repr(host)} names another port than the port field, "
                f"which holds {connection.port}; "
                "write the port into one of them only, or the same into both"
            )
        host = f"{bare}:{connection.port}"
    return host


def _extra(connection: Connection) -> dict[str, Any]:
    # Not extra_dejson: it reads broken JSON as an empty extra, and its blocking call to the supervisor would stall
    # the triggerer's event loop.
    given: Any = connection.extra or {}
    try:
        # Airflow 3.2 sets a dict for the query of a connection URI.
        given = given if isinstance(given, dict) else json.loads(given)
    except (ValueError, RecursionError, TypeError):
        given = None
    if not isinstance(given, dict):
        raise KernelConfigurationError("the extra is not a JSON object")
    _refuse_unknown(given)
    return {field.name: _read_field(field, given.get(field.name)) for field in EXTRA_FIELDS}


def _refuse_unknown(extra: dict[str, Any]) -> None:
    """Refuse a field that is not known: a misspelled project would mean another one, and nothing would say so."""
    known = [field.name for field in EXTRA_FIELDS]
    unknown = sorted(name for name in map(str, extra) if name not in known)
    if not unknown:
        return
    nearest = nearest_name(unknown[0], known)
    meant = f"; did you mean {nearest!r}?" if nearest else "."
    raise KernelConfigurationError(
        f"the extra has {shown_names(unknown)}, which is no setting{meant} It takes {', '.join(known)}"
    )


def warning_of_type(connection: Connection) -> str | None:
    """Say what may be wrong with a connection of another type; ``None`` for one of ours, or of no type."""
    given: Any = connection.conn_type
    if not given or given == "kernel":
        return None
    return (
        f"Airflow connection {connection.conn_id!r} is of type {short_repr(given)}; its fields are read as those "
        "of a Kernel connection. Set its type to 'kernel', or name another connection as kernel_conn_id"
    )


def _read_field(field: ExtraField, value: Any) -> Any:
    """Read one field. A connection URI holds all values as text; the form stores null for an empty field."""
    if isinstance(value, str):
        value = value.strip()
    if value is None or value == "":
        return field.default
    if field.type == "string":
        # verify_tls is text in the form, but true or false in hand-written JSON.
        if isinstance(value, str) or (isinstance(value, bool) and field.name == "verify_tls"):
            return value
        raise KernelConfigurationError(f"{field.name} in the extra is {short_repr(value)}; it takes text")
    number = _parse_number(value, whole=field.type == "integer")
    low, high = field.minimum, field.maximum
    if number is None or (low is not None and number < low) or (high is not None and number > high):
        kind = "a whole number" if field.type == "integer" else "a number"
        raise KernelConfigurationError(
            f"{field.name} in the extra is {short_repr(value)}; it takes {kind} from {low} to {high}"
        )
    return number


def _parse_number(value: Any, *, whole: bool) -> float | int | None:
    """Read a number, or text that spells one; ``None`` for anything else, and for 2.5 where it must be whole."""
    if not isinstance(value, str) and not is_number(value):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    if not is_number(number) or (whole and not number.is_integer()):
        return None
    return int(number) if whole else number


def _verify_tls(value: Any) -> bool | str:
    if value is None or isinstance(value, bool):
        return value is not False
    text = str(value)
    return {"true": True, "false": False}.get(text.lower(), text)
