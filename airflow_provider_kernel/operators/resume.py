"""What a worker makes of the event with which a trigger ends a deferral."""

from __future__ import annotations

import time
from typing import Any

from airflow_provider_kernel.client.errors import KernelError, KernelLostContactError
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationTimeoutError
from airflow_provider_kernel.client.resources.invocations.models import Invocation
from airflow_provider_kernel.hooks.kernel import KernelHook

#: So long may what tells of an invocation by itself be behind what has told of its end.
_CATCH_UP_SECONDS = 30.0


def end_of_deferral(hook: KernelHook, event: dict[str, Any] | None, invocation_id: str | None) -> Invocation:
    """
    Fetch the invocation that a trigger waited for: the event only says that it is time to.

    :param hook: the hook to fetch it with.
    :param event: what the trigger told; it may be lost, or come from another version of this package.
    :param invocation_id: the invocation, as far as the task knows it by itself.
    :return: the invocation, which has ended.
    :raises KernelInvocationTimeoutError: when the deadline had passed and it still runs.
    :raises KernelLostContactError: when it could not be looked at, or still runs although the trigger gave up.
    :raises KernelError: when it cannot be fetched for good, or nobody knows which it is.
    """
    event = event or {}
    invocation_id = event.get("invocation_id") or invocation_id
    if not invocation_id:
        raise KernelError(f"The trigger's event names no invocation: {event!r}")
    try:
        # Also after an error: it may have ended while the trigger could not see it, and its result is not lost.
        invocation = hook.get_invocation(invocation_id)
    except KernelError as error:
        if error.permanent:
            raise
        raise KernelLostContactError(f"Lost contact with invocation {invocation_id}: {error}") from error
    if invocation.is_final:
        return invocation
    if event.get("status") == "finished":
        # A list or a stream has told of its end: a single look that is behind is no reason to cancel it.
        try:
            return hook.wait_for_invocation(
                invocation_id, poll_interval=1, deadline=time.time() + _CATCH_UP_SECONDS
            )
        except KernelInvocationTimeoutError as error:
            raise KernelLostContactError(
                f"The end of invocation {invocation_id} was told, but {_CATCH_UP_SECONDS:.0f} seconds later "
                f"it still is {invocation.status}"
            ) from error
    if event.get("status") == "timeout":
        raise KernelInvocationTimeoutError(
            f"Invocation {invocation_id} did not end within the time of its task; it was {invocation.status}"
        )
    told = event.get("error") or f"the trigger told {event!r}"
    raise KernelLostContactError(f"The triggerer lost contact with invocation {invocation_id}: {told}")
