"""
What takes more than one request, written once for both clients.

See :mod:`airflow_provider_kernel.client.flow` for what a flow is and how a client carries it out.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from airflow_provider_kernel.client.errors import (
    KernelAmbiguousStartError,
    KernelBadRequestError,
    KernelConflictError,
    KernelError,
    KernelNotFoundError,
)
from airflow_provider_kernel.client.flow import Flow
from airflow_provider_kernel.client.http.request import Request
from airflow_provider_kernel.client.outage import is_refused_access
from airflow_provider_kernel.client.resources.invocations import requests
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationFinishedError
from airflow_provider_kernel.client.resources.invocations.models import Invocation
from airflow_provider_kernel.client.resources.invocations.status import InvocationStatus
from airflow_provider_kernel.client.retry import Resend, may_have_acted
from airflow_provider_kernel.client.unset import UNSET

#: The answers that may mean "it has already ended"; none of them is documented for it.
_PERHAPS_FINISHED = (KernelBadRequestError, KernelNotFoundError, KernelConflictError)


def start_invocation(request: Request[Invocation]) -> Flow[Invocation]:
    """
    Start an invocation, never twice.

    :return: the invocation with id, action and status only.
    :raises KernelAmbiguousStartError: when the server may have started it although no usable answer came.
    """
    try:
        return (yield from request)
    except KernelError as error:
        if may_have_acted(error):
            raise KernelAmbiguousStartError(f"Whether the invocation was started is unknown: {error}") from error
        raise


def update_invocation(invocation_id: str, status: InvocationStatus | str, output: Any = UNSET) -> Flow[Invocation]:
    """
    End an invocation, and distinguish a refusal from "it has already ended".

    After a lost answer the request is resent, and the second answer may say that the invocation has ended. That is
    a success if it has the requested status.

    :param output: left out, none is sent.
    :raises KernelInvocationFinishedError: when it had already ended with the other status.
    """
    refusal: KernelError | None = None
    try:
        invocation = yield from requests.update_invocation(invocation_id, status, output)
    except _PERHAPS_FINISHED as error:
        refusal = error
        try:
            invocation = yield from requests.get_invocation(invocation_id)
        except KernelError:
            raise refusal from None
    if invocation.status == str(status) or (str(status) == InvocationStatus.FAILED and invocation.has_failed):
        return invocation
    if invocation.is_final:
        raise KernelInvocationFinishedError(invocation, str(status)) from refusal
    if refusal:
        raise refusal
    # A 200, but the invocation still runs: the update was taken, and is not visible yet.
    return invocation


def answer_invocation(invocation_id: str, output: Any = UNSET) -> Flow[Invocation]:
    """
    End an invocation as ``succeeded``, unless it has ended: an update might overwrite its result.

    :raises KernelInvocationFinishedError: when it had ended before, with either status.
    """
    before = yield from requests.get_invocation(invocation_id)
    if before.is_final:
        raise KernelInvocationFinishedError(before, InvocationStatus.SUCCEEDED.value)
    return (yield from update_invocation(invocation_id, InvocationStatus.SUCCEEDED, output))


class Cancellation(NamedTuple):
    """
    The result of a cancel, with the invocation's state afterwards.

    :param was_over: whether it had ended before, so that nothing was changed.
    :param browsers_error: why its browsers could not be ended; ``None`` when they were.
    """

    invocation: Invocation
    was_over: bool
    browsers_error: KernelError | None = None

    def report(self) -> Iterator[tuple[int, str]]:
        """Yield pairs of level and line for a log."""
        invocation = self.invocation
        if self.was_over:
            yield logging.INFO, f"Invocation {invocation.id} had already ended as {invocation.status}"
        else:
            yield logging.INFO, f"Invocation {invocation.id} was cancelled; it is now {invocation.status}"
        if self.browsers_error:
            text = f"The browsers of invocation {invocation.id} may live on until they time out"
            yield logging.WARNING, f"{text}: {self.browsers_error}"


def cancel_invocation(
    invocation_id: str, reason: str, *, urgent: bool = False, details: Mapping[str, Any] | None = None
) -> Flow[Cancellation]:
    """
    Cancel an invocation: set it to ``failed``, and end its browsers even if that failed.

    One that succeeded is left alone, since the server may overwrite a result. When its state cannot be
    fetched, it is cancelled all the same: an invocation that runs on costs money.

    :param reason: why, for the invocation's output.
    :param urgent: fetch the state with one attempt only, because little time is left.
    :param details: what to put into the output beside the reason.
    :raises KernelError: when it could not be cancelled.
    """
    get = requests.get_invocation(invocation_id)
    before: Invocation | None
    try:
        before = yield from replace(get, resend=Resend.NEVER) if urgent else get
    except KernelError as error:
        if is_refused_access(error) or error.says_absent:
            raise
        before = None
    if before is not None and before.status == InvocationStatus.SUCCEEDED:
        return Cancellation(before, was_over=True)

    was_over = before is not None and before.is_final
    outcome: Invocation | KernelError
    output = {"error": reason, **(details or {})}
    if before is not None and was_over:
        outcome = before
    else:
        try:
            outcome = yield from update_invocation(invocation_id, InvocationStatus.FAILED, output)
        except KernelInvocationFinishedError as finished:
            return Cancellation(finished.invocation, was_over=True)
        except KernelError as error:
            outcome = error

    browsers_error: KernelError | None = None
    try:
        yield from requests.delete_invocation_browsers(invocation_id)
    except KernelError as error:
        browsers_error = None if error.says_absent else error  # none are left
    if isinstance(outcome, KernelError):
        raise outcome
    return Cancellation(outcome, was_over=was_over, browsers_error=browsers_error)
