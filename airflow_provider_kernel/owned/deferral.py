"""What a worker does with an invocation after a deferral: fetch it, or end it."""

from __future__ import annotations

import logging
import time
from typing import Any

from airflow_provider_kernel.client.errors import KernelError, KernelLostContactError
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationTimeoutError
from airflow_provider_kernel.client.resources.invocations.models import Invocation
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle.ledger import StartRecord
from airflow_provider_kernel.lifecycle.resource import WaitStatus, end_failed, try_to_end
from airflow_provider_kernel.owned.invocation import EndableInvocation

log = logging.getLogger(__name__)

#: How long ``GET /invocations/{id}`` may lag behind the list or the stream that reported the end.
_CATCH_UP_SECONDS = 30.0


def fetch_after_deferral(hook: KernelHook, event: dict[str, Any] | None, invocation_id: str | None) -> Invocation:
    """
    Fetch the invocation that a trigger waited for. The event only says that it is time to.

    :param event: the trigger's event. It may be lost, or come from another version of this package.
    :param invocation_id: the invocation by the task's own XCom, for an event that names none.
    :return: the invocation, which has ended.
    :raises KernelInvocationTimeoutError: when the deadline has passed and it still runs.
    :raises KernelLostContactError: when it could not be fetched, or still runs although the trigger gave up.
    :raises KernelError: when it can never be fetched, or its id is unknown.
    """
    event = event or {}
    invocation_id = event.get("invocation_id") or invocation_id
    if not invocation_id:
        raise KernelError(f"The trigger's event names no invocation: {event!r}")
    try:
        # Also after an error: it may have ended while the trigger could not fetch it.
        invocation = hook.get_invocation(invocation_id)
    except KernelError as error:
        if error.permanent:
            raise
        raise KernelLostContactError(f"Lost contact with invocation {invocation_id}: {error}") from error
    if invocation.is_final:
        return invocation
    if event.get("status") == WaitStatus.FINISHED:
        # The list or the stream reported its end. A single GET that lags is no reason to cancel it.
        try:
            return hook.wait_for_invocation(
                invocation_id, poll_interval=1, deadline=time.time() + _CATCH_UP_SECONDS
            )
        except KernelInvocationTimeoutError as error:
            raise KernelLostContactError(
                f"The end of invocation {invocation_id} was reported, but {_CATCH_UP_SECONDS:.0f} seconds later "
                f"it still is {invocation.status}"
            ) from error
    if event.get("status") == WaitStatus.TIMEOUT:
        raise KernelInvocationTimeoutError(
            f"Invocation {invocation_id} did not end within the time of its task; it was {invocation.status}"
        )
    error_text = event.get("error") or f"the trigger sent {event!r}"
    raise KernelLostContactError(f"The triggerer lost contact with invocation {invocation_id}: {error_text}")


def end_after_deferral(hook: KernelHook, invocation_id: str | None, reason: str) -> bool:
    """
    Cancel the invocation on the worker, and log how that went: a failure must not hide why.

    :return: whether it is known that nothing is left to cancel.
    """
    if invocation_id is None:
        return True
    try:
        flow = try_to_end(EndableInvocation(), StartRecord.naming(invocation_id), reason)
        report = hook.get_conn().run(flow)
    except KernelError as error:  # there is no such connection
        report = end_failed(EndableInvocation.kind, invocation_id, error)
    report.log(log)
    return report.is_done
