"""Defaults of arguments, and the check of an id when a task runs. The table is in ``arguments.py``."""

from __future__ import annotations

from typing import Any, Literal

from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.client.sanitize import short_repr
from airflow_provider_kernel.client.validation import is_missing

DEFAULT_POLL_INTERVAL = 10.0
DEFAULT_MAX_LOG_LINES = 10_000
#: The largest output to put into XCom by default.
DEFAULT_MAX_OUTPUT_BYTES = 1024 * 1024

#: How an output is handed to other tasks.
OutputAs = Literal["value", "json_text"]
DEFAULT_OUTPUT_AS: OutputAs = "value"


def check_invocation_id(value: Any, purpose: str, advice: str = "") -> None:
    """
    Refuse what is no id of an invocation, when the task runs: templates and XCom are known only then.

    :param purpose: what the id is for, such as ``to end``.
    :param advice: what else to do if it is missing, as a sentence.
    :raises KernelInputError: when it is missing.
    """
    if is_missing(value):
        raise KernelInputError(
            f"invocation_id is {short_repr(value)}: there is no invocation {purpose}. The task that was to give "
            "the id failed or was skipped before, or returned none, or a template found no value: check the XCom "
            f"or conf that it reads{advice and f'. {advice}'}"
        )
