"""
Waiting for an invocation to end: when to poll, and when to give up.

A flow, written once for the hook, the blocking operator and the trigger; the clients send and sleep. What becomes
of polls that fail is decided in :mod:`airflow_provider_kernel.client.outage`.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_kernel.client.errors import KernelError
from airflow_provider_kernel.client.flow import Flow, Sleep
from airflow_provider_kernel.client.http.request import Request
from airflow_provider_kernel.client.outage import Outage
from airflow_provider_kernel.client.resources.invocations import requests
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationTimeoutError
from airflow_provider_kernel.client.resources.invocations.models import Invocation
from airflow_provider_kernel.client.resources.invocations.status import InvocationStatus
from airflow_provider_kernel.client.resources.invocations.time_limits import LONGEST_LIFE_SECONDS
from airflow_provider_kernel.client.retry import Resend
from airflow_provider_kernel.client.safe_logger import get_logger, only_informs

if TYPE_CHECKING:
    from airflow_provider_kernel.client.resources.invocations.browser_models import Browser

log = get_logger(__name__)

#: The first pause between polls: many runs are short.
_FIRST_SECONDS = 0.5
#: How many polls of a running invocation also fetch its browsers; with the default interval some two minutes.
MAX_BROWSER_POLLS = 20


class Poll(Request[Invocation]):
    """One poll of a waiting flow; the shared poller answers it from a list."""

    def __init__(self, invocation_id: str) -> None:
        get = requests.get_invocation(invocation_id)
        # Never resent: the next poll is the next attempt.
        super().__init__(get.method, get.path, get.parse, resend=Resend.NEVER, about=get.about)
        self.invocation_id = invocation_id


def wait_for_invocation(
    invocation_id: str,
    *,
    poll_interval: float,
    delays: Iterable[float] | None = None,
    deadline: float | None = None,
    polls_at_once: bool = True,
    is_new: bool = True,
    was_seen: bool = False,
    on_change: Callable[[Invocation], None] = lambda invocation: None,
    on_poll_error: Callable[[KernelError], None] = lambda error: None,
    on_browser: Callable[[Invocation, Browser], None] | None = None,
) -> Flow[Invocation]:
    """
    Poll an invocation until it has ended. A callback that fails is logged, and the wait goes on.

    A poll that fails is repeated until the deadline, once a create or a poll of the invocation has succeeded.

    :param poll_interval: seconds between two polls in the long run.
    :param delays: the pauses between polls in place of that, endlessly; each is taken when it begins.
    :param deadline: when to give up, in seconds since the epoch, which every process counts alike; ``None`` for
        never. It is read once: within the process, time is counted by the monotonic clock.
    :param polls_at_once: ``False`` begins with the first of the pauses, because a poll now would tell nothing.
    :param is_new: whether it was started just now; a poll may then answer "not found" at first.
    :param was_seen: whether an earlier poll found it; then "not found" passes, too.
    :param on_change: called whenever the status has changed.
    :param on_poll_error: called for the first failed poll of each outage, and every few minutes while it lasts.
    :param on_browser: called once, with the invocation's first browser. Without it, browsers are not fetched.
    :raises KernelInvocationTimeoutError: when the deadline has passed; nothing was cancelled.
    :raises KernelLostContactError: when the key was refused for minutes; without a deadline also when no poll has
        succeeded for longer than an invocation can live.
    :raises KernelError: when the first poll of an invocation that was neither started just now nor seen before
        fails for good, and when what was started stays "not found".
    """
    on_change = only_informs(on_change, "A callback failed", log)
    poll = Poll(invocation_id)
    longest = None if deadline is None else deadline - time.time()
    until = None if longest is None else time.monotonic() + longest
    pauses = iter(poll_delays(poll_interval) if delays is None else delays)
    if not polls_at_once:
        first = next(pauses)
        yield Sleep(first if longest is None else max(0.0, min(first, longest)))
    outage = Outage(
        f"invocation {invocation_id}",
        is_new=is_new,
        was_seen=was_seen,
        longest=LONGEST_LIFE_SECONDS if until is None else None,
        on_error=on_poll_error,
    )
    status: str | None = None
    browser_polls = MAX_BROWSER_POLLS if on_browser is not None else 0
    while True:
        try:
            invocation = yield from poll
        except KernelError as error:
            wait = outage.failed(error, next(pauses))
        else:
            outage.succeeded()
            wait = next(pauses)  # not before the poll: it may depend on the time
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
        if until is not None:
            left = until - time.monotonic()
            if left <= 0:
                raise _timeout(invocation_id, status, outage, longest)
            wait = min(wait, left)
        yield Sleep(wait)


def _timeout(
    invocation_id: str, status: str | None, outage: Outage, longest: float | None
) -> KernelInvocationTimeoutError:
    within = f"within {longest:.0f} s" if longest and longest >= 1 else "in time"
    state = f"it is {status or 'in an unknown state'}"
    if outage.error is not None:
        state = (
            f"{'it was ' + status if status else 'its state is unknown'}, and the last poll failed: {outage.error}"
        )
    return KernelInvocationTimeoutError(
        f"Invocation {invocation_id} did not end {within}; {state}", was_seen=outage.was_seen
    )


def _first_browser(invocation_id: str) -> Flow[Browser | None]:
    try:
        browsers = yield from replace(requests.list_invocation_browsers(invocation_id), resend=Resend.NEVER)
    except KernelError:
        # The browser is for a link only. If something is wrong, the polls of the invocation report it.
        return None
    return browsers[0] if browsers else None


def poll_delays(interval: float, *, first: float | None = None) -> Iterator[float]:
    """
    Yield the pauses between polls, endlessly: short at first, then about ``interval``.

    Each has a jitter of a tenth, so that many tasks do not poll at the same times.

    :param first: the first pause, in seconds. Default: half a second, since many invocations are short.
    """
    delay = min(_FIRST_SECONDS if first is None else first, interval)
    while True:
        yield delay * random.uniform(0.9, 1.1)  # noqa: S311 (spreads load, guards nothing)
        delay = min(delay * 1.5, interval)


def held_delays(interval: float, seconds_left: Callable[[], float], *, has_stream: bool) -> Iterator[float]:
    """
    Yield the pauses of a wait whose end is of no use to anybody for a while: the first poll comes after that.

    They grow with the time waited, as those of :func:`poll_delays` do.

    :param seconds_left: returns how much of that while is left.
    :param has_stream: whether a log stream reports the end, so that the pauses need not be as short at first.
    """
    first = seconds_left() if has_stream else seconds_left() / 3
    # Next to nothing may be left: the pauses are not to grow from that.
    for delay in poll_delays(interval, first=max(first, _FIRST_SECONDS)):
        yield max(delay, seconds_left())


def listed_delays(delays: Sequence[float], began: float) -> Iterator[float]:
    """
    Yield given pauses between polls, the last one endlessly.

    :param began: when the first of them began, in seconds since the epoch: those that are over are left out.
    """
    passed = time.time() - began
    for delay in delays:
        passed -= delay
        if passed < 0:
            yield delay
    yield from itertools.repeat(delays[-1])
