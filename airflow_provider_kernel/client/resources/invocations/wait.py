"""
Waiting for an invocation to end: when to poll, which errors to tolerate, when to give up.

A flow, written once for the hook, the blocking operator and the trigger; the clients send and sleep.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from airflow_provider_kernel.client.errors import (
    KernelAPIError,
    KernelConnectionError,
    KernelError,
    KernelLostContactError,
    KernelNotFoundError,
    KernelResponseError,
)
from airflow_provider_kernel.client.flow import Flow, Sleep
from airflow_provider_kernel.client.http.request import Request
from airflow_provider_kernel.client.resources.invocations import requests
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationTimeoutError
from airflow_provider_kernel.client.resources.invocations.models import Browser, Invocation
from airflow_provider_kernel.client.resources.invocations.status import InvocationStatus
from airflow_provider_kernel.client.retry import (
    MAX_RETRY_AFTER_SECONDS,
    TRANSIENT_STATUSES,
    Resend,
    pause_after,
)
from airflow_provider_kernel.client.safe_logger import get_logger, only_informs

log = get_logger(__name__)

#: The first pause between polls: many runs are short.
_FIRST_SECONDS = 0.5
#: Contact counts as lost when this many polls in a row have failed...
MAX_FAILED_POLLS = 20
#: ...and the last successful one was this long ago: with a short interval, 20 polls take seconds only.
LOST_CONTACT_SECONDS = 120.0
#: How long a poll of an invocation that was just started may answer "not found".
NOT_FOUND_GRACE_SECONDS = 30.0
#: How many polls of a running invocation also fetch its browsers; with the default interval some two minutes.
MAX_BROWSER_POLLS = 20


@dataclass(frozen=True)
class Poll(Request[Invocation]):
    """One poll of a waiting flow; the shared poller answers it from a list."""

    invocation_id: str = field(kw_only=True)


def poll_request(invocation_id: str) -> Poll:
    get = requests.get_invocation(invocation_id)
    # Never resent: the next poll is the next attempt.
    return Poll(get.method, get.path, get.parse, resend=Resend.NEVER, about=get.about, invocation_id=invocation_id)


def wait_for_invocation(
    invocation_id: str,
    *,
    poll_interval: float,
    deadline: float | None = None,
    is_new: bool = True,
    on_change: Callable[[Invocation], None] = lambda invocation: None,
    on_poll_error: Callable[[KernelError], None] = lambda error: None,
    on_browser: Callable[[Invocation, Browser], None] | None = None,
) -> Flow[Invocation]:
    """
    Poll an invocation until it has ended. A callback that fails is logged, and the wait goes on.

    :param poll_interval: seconds between two polls in the long run.
    :param deadline: when to give up, in seconds since the epoch, which every process counts alike; ``None`` for
        never.
    :param is_new: whether it was started just now; a poll may then answer "not found" at first.
    :param on_change: called whenever the status has changed.
    :param on_poll_error: called for the first failed poll of each outage.
    :param on_browser: called once, with the invocation's first browser. Without it, browsers are not fetched.
    :raises KernelInvocationTimeoutError: when the deadline has passed; nothing was cancelled.
    :raises KernelLostContactError: when 20 polls in a row failed, and none succeeded for two minutes.
    :raises KernelError: when a poll failed with an error that will not pass.
    """
    on_change = only_informs(on_change, "A callback failed", log)
    on_poll_error = only_informs(on_poll_error, "A callback failed", log)
    poll = poll_request(invocation_id)
    began = time.time()
    status: str | None = None
    failed_polls, in_contact = 0, began
    browser_polls = MAX_BROWSER_POLLS if on_browser is not None else 0
    for delay in poll_delays(poll_interval):
        wait = delay
        try:
            invocation = yield from poll
        except KernelError as error:
            not_there_yet = is_new and status is None and time.time() < began + NOT_FOUND_GRACE_SECONDS
            if not _may_pass(error, not_there_yet=not_there_yet):
                raise
            failed_polls += 1
            if failed_polls == 1:
                on_poll_error(error)
            out_of_contact = time.time() - in_contact
            if failed_polls >= MAX_FAILED_POLLS and out_of_contact >= LOST_CONTACT_SECONDS:
                raise KernelLostContactError(
                    f"Lost contact with invocation {invocation_id}: {failed_polls} polls in a row failed, "
                    f"over {out_of_contact:.0f} seconds; the last: {error}"
                ) from error
            wait = pause_after(error, delay, at_most=MAX_RETRY_AFTER_SECONDS)
        else:
            failed_polls, in_contact = 0, time.time()
            if invocation.status != status:
                status = invocation.status
                on_change(invocation)
            if invocation.is_final:
                return invocation
            if on_browser is not None and browser_polls and status == InvocationStatus.RUNNING:
                browser_polls -= 1
                browser = yield from _first_browser(invocation_id)
                if browser is not None:
                    browser_polls = 0
                    only_informs(on_browser, "A callback failed", log)(invocation, browser)
        if deadline is not None:
            left = deadline - time.time()
            if left <= 0:
                raise KernelInvocationTimeoutError(
                    f"Invocation {invocation_id} did not end in time; it is {status or 'in an unknown state'}"
                )
            wait = min(wait, left)
        yield Sleep(wait)
    raise AssertionError("poll_delays never ends")


def _first_browser(invocation_id: str) -> Flow[Browser | None]:
    try:
        browsers = yield from replace(requests.list_invocation_browsers(invocation_id), resend=Resend.NEVER)
    except KernelError:
        # The browser is for a link only. If something is wrong, the polls of the invocation report it.
        return None
    return browsers[0] if browsers else None


def _may_pass(error: KernelError, *, not_there_yet: bool) -> bool:
    if isinstance(error, KernelNotFoundError):
        return not_there_yet
    if isinstance(error, KernelAPIError):
        return error.status_code in TRANSIENT_STATUSES
    return isinstance(error, (KernelConnectionError, KernelResponseError))


def poll_delays(interval: float) -> Iterator[float]:
    """
    Yield the pauses between polls, endlessly: short at first, then about ``interval``.

    Each has a jitter of a tenth, so that many tasks do not poll at the same times.
    """
    delay = min(_FIRST_SECONDS, interval)
    while True:
        yield delay * random.uniform(0.9, 1.1)  # noqa: S311 (spreads load, guards nothing)
        delay = min(delay * 1.5, interval)
