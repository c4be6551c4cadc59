"""The errors of invocations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_kernel.client.errors import KernelError
from airflow_provider_kernel.client.resources.invocations.status import STATUSES
from airflow_provider_kernel.client.sanitize import escape_untrusted, sanitize_line

if TYPE_CHECKING:
    from airflow_provider_kernel.client.resources.invocations.models import Invocation


class KernelInvocationFinishedError(KernelError):
    """The invocation had already ended, so that the requested status was not set."""

    permanent = True

    def __init__(self, invocation: Invocation, asked_for: str) -> None:
        when = f" at {sanitize_line(invocation.finished_at, 40)}" if invocation.finished_at else ""
        super().__init__(
            f"Invocation {invocation.id} had already ended as {invocation.status}{when}; "
            + ("its result is left as it is" if invocation.status == asked_for else f"it cannot become {asked_for}")
        )
        self.invocation = invocation
        self.asked_for = asked_for

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.invocation, self.asked_for), self.__dict__)


class KernelInvocationFailedError(KernelError):
    """
    The invocation ended as ``failed``, or with an unknown status: by its own error, by its time limit, or because
    somebody cancelled it.

    Its output may hold sensitive data and is therefore not part of the message; it is in ``invocation``.
    """

    def __init__(self, invocation: Invocation) -> None:
        name = sanitize_line("/".join(filter(None, (invocation.app_name, invocation.action_name))), 200) or "?"
        reason = sanitize_line(invocation.status_reason or "") or "the API gives no reason"
        known = invocation.status in STATUSES
        how = "failed" if known else f"ended with the unknown status {invocation.status!r}, which counts as failed"
        super().__init__(f"Invocation {invocation.id} of {name} {how}: {reason}")
        self.invocation = invocation
        #: Why, as Kernel says it.
        self.reason = reason

    @property
    def summary(self) -> str:
        where = "in its log lines, and in KernelHook().get_invocation(id).output"
        name = sanitize_line("/".join(filter(None, (self.invocation.app_name, self.invocation.action_name))), 100)
        return escape_untrusted(
            f"{self.reason} (invocation {self.invocation.id} of {name or '?'}). What the app says is {where}"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.invocation,), self.__dict__)


class KernelInvocationTimeoutError(KernelError):
    """
    The invocation did not end before the deadline. Raising this cancels nothing.

    :param was_seen: whether a poll had found it.
    """

    def __init__(self, message: str = "", *, was_seen: bool = False) -> None:
        super().__init__(message)
        self.was_seen = was_seen


class KernelOutputError(KernelError):
    """
    The invocation succeeded, but its output cannot be handed to other tasks as it is.

    It is permanent for the task: another try would run the action again and end here again.
    """

    permanent = True


class KernelOutputTooLargeError(KernelOutputError):
    """The invocation succeeded, but its output is larger than the task wants to keep in XCom."""
