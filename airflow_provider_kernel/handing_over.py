"""What an invocation that waits and the DAG that answers it agree upon."""

from __future__ import annotations

from typing import Any

from airflow_provider_kernel.client.errors import KernelInputError

#: The key in the DAG run's ``conf`` under which an action hands over its ``ctx.invocation_id``.
CONF_KEY = "kernel_invocation_id"
#: A DAG run of this id and the invocation's tells which one waits, too.
RUN_ID_PREFIX = "kernel__"
#: Where a DAG callback gets no DAG run from Airflow, it renders to nothing, too.
INVOCATION_ID_FROM_CONF = "{{ ((dag_run.conf or {}).get('" + CONF_KEY + "') or '') if dag_run is defined }}"

#: Kernel documents no limit for an output; this is the one for a payload.
MAX_OUTPUT_BYTES = 4_500_000


def check_output(output: Any, max_bytes: int) -> None:
    """
    Refuse an output that cannot be sent, before it is.

    :param output: the output.
    :param max_bytes: how large it may be, as JSON.
    :raises KernelInputError: when JSON cannot hold it, or when it is too large.
    """
    from airflow_provider_kernel.client.json_encoding import size_in_bytes, to_json_text

    size = size_in_bytes(to_json_text(output, what="output"))
    if size > max_bytes:
        raise KernelInputError(
            f"output has {size:,} bytes of JSON; max_output_bytes allows {max_bytes:,}. "
            "Store the data somewhere and return a reference to it"
        )


def redacted(text: str) -> str:
    """
    Mask the secrets that Airflow knows of, in a text that leaves it.

    :param text: any text.
    """
    from airflow.sdk import log

    return str(log.redact(text))  # type: ignore[attr-defined]
