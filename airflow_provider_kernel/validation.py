"""Defaults and checks of arguments. A DAG file with a wrong argument fails when it is parsed."""

from __future__ import annotations

from typing import Any, Literal

from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.client.sanitize import short_repr
from airflow_provider_kernel.client.validation import is_missing, is_number, is_whole_number

DEFAULT_POLL_INTERVAL = 10.0
DEFAULT_MAX_LOG_LINES = 10_000
#: The largest output to put into XCom by default.
DEFAULT_MAX_OUTPUT_BYTES = 1024 * 1024

#: How an output is handed to other tasks.
OutputAs = Literal["value", "json_text"]
DEFAULT_OUTPUT_AS: OutputAs = "value"


def check_poll_interval(value: Any) -> None:
    """Refuse what is not a finite number of seconds above 0."""
    if not is_number(value) or value <= 0:
        raise KernelInputError(f"poll_interval is {short_repr(value)}; it takes seconds above 0")


def check_whole_number(name: str, value: Any) -> None:
    """Refuse a limit that is not a whole number from 0."""
    if not is_whole_number(value) or value < 0:
        raise KernelInputError(f"{name} is {short_repr(value)}; it takes a whole number from 0")


def check_output_as(value: Any, *, multiple_outputs: bool, waits: bool = True) -> None:
    """Refuse a form of outputs that does not exist, and one without items where Airflow is to push each item."""
    if value not in ("value", "json_text"):
        raise KernelInputError(f"output_as is {short_repr(value)}; it takes 'value' or 'json_text'")
    if multiple_outputs and value == "json_text":
        raise KernelInputError("multiple_outputs=True needs output_as='value': JSON text has no items to push")
    if multiple_outputs and not waits:
        raise KernelInputError("multiple_outputs=True needs wait_for_completion=True: an id has no items to push")


def check_no_multiple_outputs(multiple_outputs: bool, result: str) -> None:
    """Refuse what Airflow would refuse only after the task's work: to push the items of a result without any."""
    if multiple_outputs:
        raise KernelInputError(f"multiple_outputs=True needs a task that returns a dict; this one returns {result}")


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
