"""What the end of an invocation means for the task that waited for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from airflow_provider_kernel.client.json_encoding import size_in_bytes
from airflow_provider_kernel.client.resources.invocations.errors import (
    KernelInvocationFailedError,
    KernelOutputTooLargeError,
)
from airflow_provider_kernel.client.resources.invocations.state import InvocationState
from airflow_provider_kernel.client.resources.invocations.status import InvocationStatus

if TYPE_CHECKING:
    from airflow_provider_kernel.client.resources.invocations.models import Invocation


def check_result(invocation: InvocationState, *, max_output_bytes: int | None = None) -> None:
    """
    Raise the error that a finished invocation ended with, if it did.

    :param invocation: from a GET, never from an event of the stream.
    :param max_output_bytes: the limit of the output's text; ``None`` for none.
    """
    if invocation.status != InvocationStatus.SUCCEEDED:
        # What a process has not fetched itself has succeeded.
        raise KernelInvocationFailedError(cast("Invocation", invocation))
    size = size_in_bytes(invocation.output or "")
    if max_output_bytes is not None and size > max_output_bytes:
        raise KernelOutputTooLargeError(
            f"Invocation {invocation.id} succeeded, but its output has {size:,} bytes and this task keeps at most "
            f"{max_output_bytes:,}. Raise max_output_bytes, or let the action store its result elsewhere and "
            "return a reference; the output can still be read with KernelHook.get_invocation"
        )


def unwrap_result(invocation: InvocationState, *, max_output_bytes: int | None = None) -> Any:
    """
    Turn a finished invocation into its output, or into the error that it ended with.

    The arguments and errors are those of :func:`check_result`.

    :return: any JSON value, text where the output is not JSON, ``None`` where there is none.
    """
    check_result(invocation, max_output_bytes=max_output_bytes)
    return invocation.parsed_output()
