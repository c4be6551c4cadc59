"""
The table of the fields of a Kernel connection.

Airflow 3.2 and later build the form from provider metadata, 3.1 from methods of the hook. Both use this table, and
so does the check of a connection's extra. The module imports no library: every Airflow process loads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_kernel.client.defaults import DEFAULT_BASE_URL, DEFAULT_DASHBOARD_URL

#: The connection of operators, sensors, triggers and hooks that name none.
DEFAULT_CONN_ID = "kernel_default"


@dataclass(frozen=True)
class ExtraField:
    """
    One field in a connection's extra.

    :param type: its JSON type: ``string``, ``number`` or ``integer``. ``null`` always means the default.
    :param default: the value if the field is absent or ``null``, and the form's initial value.
    """

    name: str
    label: str
    description: str
    type: str = "string"
    default: str | float | int | None = None
    minimum: float | None = None
    maximum: float | None = None

    def conn_field(self) -> dict[str, Any]:
        # The form posts null for an empty field; a schema without "null" would refuse it.
        schema: dict[str, Any] = {"type": [self.type, "null"], "default": self.default}
        if self.minimum is not None:
            schema.update(minimum=self.minimum, maximum=self.maximum)
        return {"label": self.label, "description": self.description, "schema": schema}


EXTRA_FIELDS = (
    ExtraField(
        "project",
        "Project",
        "Id or exact name of a Kernel project. Empty: the key's own project, or the organization's default.",
    ),
    ExtraField(
        "connect_timeout",
        "Connect timeout",
        "Seconds to wait for a connection to the API, 0.1 to 300.",
        type="number",
        default=5,
        minimum=0.1,
        maximum=300,
    ),
    ExtraField(
        "read_timeout",
        "Read timeout",
        "Seconds to wait for the API's answer, 0.1 to 3600.",
        type="number",
        default=60,
        minimum=0.1,
        maximum=3600,
    ),
    ExtraField(
        "max_attempts",
        "Attempts",
        "The most attempts for a request that is safe to send again, 1 to 100.",
        type="integer",
        default=5,
        minimum=1,
        maximum=100,
    ),
    ExtraField(
        "max_retry_seconds",
        "Retry time",
        "Seconds after its first attempt in which a request is sent again, 0 to 86400.",
        type="number",
        default=120,
        minimum=0,
        maximum=86400,
    ),
    ExtraField(
        "verify_tls",
        "Verify TLS",
        # Initially empty: Airflow treats each text in an extra as a secret, and would warn in every task's log that
        # "true" is too short to be masked.
        "Empty: yes. Or false, or the path of a CA bundle on the workers, the triggerer and the API server.",
    ),
    ExtraField(
        "dashboard_url",
        "Dashboard URL",
        "An invocation's page, with {invocation_id}, {app_name} or {session_id}; else tasks have no link.",
        default=DEFAULT_DASHBOARD_URL,
    ),
    ExtraField(
        "owner",
        "Owner",
        "Names this Airflow in the tags of its browsers; another one with the same account needs another name. "
        "Empty: AIRFLOW_KERNEL_OWNER, or [api] base_url.",
    ),
)

RELABELING = {"password": "API key", "host": "Base URL"}
# The form shows no other help for standard fields. For the port: the Test button in Airflow's list of connections
# sends 0 for a missing port. Airflow then sees a changed connection and refuses the test before this package runs.
# The button works if any port is stored, even 0.
PLACEHOLDERS = {
    "host": f"{DEFAULT_BASE_URL} if left empty",
    "password": "from Kernel's dashboard, such as sk_...",
    "port": "443; if empty, Airflow refuses the Test button",
}


def conn_fields() -> dict[str, Any]:
    """Build ``conn-fields`` of the provider metadata."""
    return {field.name: field.conn_field() for field in EXTRA_FIELDS}


def ui_field_behaviour() -> dict[str, Any]:
    """Build ``ui-field-behaviour`` of the provider metadata."""
    return {
        "hidden-fields": ["schema", "login", "extra"],
        "relabeling": dict(RELABELING),
        "placeholders": dict(PLACEHOLDERS),
    }


def form_widgets() -> dict[str, Any]:
    """Build the fields of Airflow 3.1's form, which has none for fractions: they are text, and read as numbers."""
    from wtforms import IntegerField, StringField

    kinds = {"string": StringField, "number": StringField, "integer": IntegerField}
    return {
        field.name: kinds[field.type](
            field.label,
            description=field.description,
            default=str(field.default) if field.type == "number" else field.default,
        )
        for field in EXTRA_FIELDS
    }
