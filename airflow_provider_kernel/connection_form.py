"""
The fields of a Kernel connection, as one table.

Airflow 3.2 and later draw the form from provider metadata, 3.1 from methods of the hook; both are built from here,
and so is the check of what a connection holds. Imports nothing: provider discovery reads this in every process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_kernel.client.defaults import DEFAULT_BASE_URL, DEFAULT_DASHBOARD_URL


@dataclass(frozen=True)
class ExtraField:
    """
    One field in a connection's extra.

    :param name: its key in the extra.
    :param label: what the form calls it.
    :param description: the line below it.
    :param type: its JSON type: ``string``, ``number`` or ``integer``. ``null`` always means the default.
    :param default: what absent or ``null`` means, and what the form begins with; ``None`` for nothing.
    :param minimum: the smallest value of a number.
    :param maximum: the largest value of a number.
    """

    name: str
    label: str
    description: str
    type: str = "string"
    default: str | float | int | None = None
    minimum: float | None = None
    maximum: float | None = None

    def conn_field(self) -> dict[str, Any]:
        """Write it for ``conn-fields`` of the provider metadata."""
        # The form posts null for what is left empty, and a schema without "null" would refuse that.
        schema: dict[str, Any] = {"type": [self.type, "null"], "default": self.default}
        if self.minimum is not None:
            schema["minimum"] = self.minimum
        if self.maximum is not None:
            schema["maximum"] = self.maximum
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
        "How often one request is sent at most, where sending it again is safe, 1 to 100.",
        type="integer",
        default=5,
        minimum=1,
        maximum=100,
    ),
    ExtraField(
        "max_retry_seconds",
        "Retry time",
        "Seconds after which no further attempt of one request is started, 0 to 86400.",
        type="number",
        default=120,
        minimum=0,
        maximum=86400,
    ),
    ExtraField(
        "verify_tls",
        "Verify TLS",
        # It begins empty: Airflow takes each text in an extra for a secret, and would warn in every task's log that
        # "true" is too short to be masked.
        "Empty: yes. Or false, or the path of a CA bundle on the workers, the triggerer and the API server.",
    ),
    ExtraField(
        "dashboard_url",
        "Dashboard URL",
        "Where the links of tasks lead; may hold {invocation_id}, {app_name} and {session_id}.",
        default=DEFAULT_DASHBOARD_URL,
    ),
)

HIDDEN_FIELDS = ("schema", "login", "extra")
RELABELING = {"password": "API key", "host": "Base URL"}
# The only lines that the form shows for standard fields. For the port: the button in Airflow's list of connections
# sends 0 for a port that is not there, and Airflow then takes it for another connection and refuses, before
# anything of this package runs. With any port stored, 0 too, it works.
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
        "hidden-fields": list(HIDDEN_FIELDS),
        "relabeling": dict(RELABELING),
        "placeholders": dict(PLACEHOLDERS),
    }
