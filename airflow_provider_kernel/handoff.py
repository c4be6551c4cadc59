"""The handoff of a waiting invocation to a DAG run: how the run learns its id, and which output it may get."""

from __future__ import annotations

from typing import Any

from airflow_provider_kernel.client.errors import KernelInputError

#: The key in the DAG run's ``conf`` under which an action passes its ``ctx.invocation_id``.
CONF_KEY = "kernel_invocation_id"
#: A run id of this prefix and the invocation's id identifies the invocation too.
RUN_ID_PREFIX = "kernel__"
#: Renders to an empty string if the context has no ``dag_run``, as in some DAG callbacks.
INVOCATION_ID_FROM_CONF = "{{ ((dag_run.conf or {}).get('" + CONF_KEY + "') or '') if dag_run is defined }}"

#: Kernel documents no limit for outputs; this is its limit for payloads.
MAX_OUTPUT_BYTES = 4_500_000


def check_output(output: Any, max_bytes: int) -> None:
    """Refuse an output that cannot be written as JSON, or takes more than ``max_bytes`` of it."""
    from airflow_provider_kernel.client.json_encoding import size_in_bytes, to_json_text

    size = size_in_bytes(to_json_text(output, what="output"))
    if size > max_bytes:
        raise KernelInputError(
            f"output has {size:,} bytes of JSON; max_output_bytes allows {max_bytes:,}. "
            "Store the data elsewhere and return a reference to it"
        )


def redact(text: str) -> str:
    """Mask the secrets that Airflow knows, in a text that is sent to Kernel."""
    from airflow.sdk import log

    return str(log.redact(text))  # type: ignore[attr-defined]
