"""
When a request is sent again, and when it must not be.

A policy is numbers only, so it fits a connection's extra and a trigger's row; tenacity decides by them, driven by
:func:`~airflow_provider_kernel.client.flow.with_retries`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_random,
    wait_random_exponential,
)

from airflow_provider_kernel.client.errors import (
    KernelAPIError,
    KernelConfigurationError,
    KernelConnectionError,
    KernelResponseError,
)
from airflow_provider_kernel.client.validation import is_number, is_whole_number

if TYPE_CHECKING:
    from airflow_provider_kernel.client.safe_logger import SafeLogger


class Resend(Enum):
    """When a request may be sent a second time."""

    #: Sending it twice ends in the same state as sending it once: GET, PATCH, DELETE.
    ALWAYS = "always"
    #: Only when the server provably did not take it: POST /invocations, which has no idempotency key.
    IF_REFUSED = "if refused"
    #: Never: the caller polls again anyway.
    NEVER = "never"


#: Transient below 500: request timeout, too early, rate limit.
_TRANSIENT_STATUSES = frozenset({408, 425, 429})
#: The only 5xx that say something about the request: not implemented, HTTP version not supported.
_LASTING_SERVER_STATUSES = frozenset({501, 505})
#: The request was refused and nothing was done: rate or concurrency limit, no capacity.
_REFUSING_STATUSES = frozenset({429, 529})
#: The longest ``Retry-After`` that a poller obeys: an invocation lasts an hour at most, and a header of many digits
#: reads as infinity, for which nothing can sleep. Resending has its own limit, ``RetryPolicy.max_seconds``.
MAX_RETRY_AFTER_SECONDS = 300.0


def is_transient(status_code: int) -> bool:
    """Tell whether an error status may pass by itself. Proxies have 5xx of their own, so nearly all may."""
    if status_code >= 500:
        return status_code not in _LASTING_SERVER_STATUSES
    return status_code in _TRANSIENT_STATUSES


def requested_pause(error: BaseException | None, *, at_most: float = math.inf) -> float | None:
    """
    How long the server asks to wait before the next request (``Retry-After``).

    :return: seconds, capped at ``at_most``; ``None`` when it asks for no pause.
    """
    if not isinstance(error, KernelAPIError) or error.retry_after is None:
        return None
    return min(error.retry_after, at_most)


def pause_after(error: BaseException | None, growing: float, *, at_most: float = math.inf) -> float:
    """
    How long to wait before the next request. A ``Retry-After`` makes the pause longer, never shorter.

    :param growing: the pause that grows with each failure, in seconds.
    :param at_most: the longest ``Retry-After`` that is obeyed, in seconds.
    :return: seconds.
    """
    return max(growing, requested_pause(error, at_most=at_most) or 0.0)


def was_refused(error: BaseException) -> bool:
    """
    Tell whether the server provably did not act on the request.

    True if no connection was made, for 429 and 529, and for a 503 with ``Retry-After``.
    """
    if isinstance(error, KernelConnectionError):
        return not error.sent
    if isinstance(error, KernelAPIError):
        return error.status_code in _REFUSING_STATUSES or (
            error.status_code == 503 and error.retry_after is not None
        )
    return False


def may_have_acted(error: BaseException) -> bool:
    """
    Tell whether the server may have acted on a request that got no success.

    True for lost and unusable answers, for 408 and 425, and for every 5xx that is not a refusal.
    """
    if was_refused(error):
        return False
    if isinstance(error, KernelAPIError):
        return error.status_code in (408, 425) or error.status_code >= 500
    return isinstance(error, (KernelConnectionError, KernelResponseError))


def may_resend(resend: Resend, error: BaseException) -> bool:
    """Tell whether another attempt is allowed, and may help."""
    if resend is Resend.NEVER:
        return False
    if isinstance(error, KernelConnectionError) and error.problem.is_of_tls:
        # A certificate that is not trusted now will not be trusted in a second either.
        return False
    if resend is Resend.IF_REFUSED:
        return was_refused(error)
    if isinstance(error, KernelAPIError):
        return is_transient(error.status_code)
    return isinstance(error, KernelConnectionError)


class Attempts(NamedTuple):
    """How often a request was sent, and the seconds from the first sending to the last answer."""

    times: int
    seconds: float

    def __str__(self) -> str:
        times = "1 attempt" if self.times == 1 else f"{self.times} attempts"
        return f"{times} in {self.seconds:.1f} s"


@dataclass(frozen=True)
class RetryPolicy:
    """
    How often, how long and how patiently a request is sent again.

    The wait before attempt *n + 1* is drawn evenly from 0 to ``base_seconds * 2 ** n`` ("full jitter"), at most
    ``cap_seconds``; where the server names a longer time (``Retry-After``), it is that time. Then up to
    ``base_seconds`` are added. When that would go past ``max_seconds``, the client gives up at once rather than
    wait for nothing.

    :param max_attempts: sendings in all, at least 1.
    :param max_seconds: no new attempt starts later than this after the first, in seconds.
    :param base_seconds: half the first wait's upper end, in seconds.
    :param cap_seconds: the longest drawn wait, in seconds.
    """

    max_attempts: int = 5
    max_seconds: float = 120.0
    base_seconds: float = 0.5
    cap_seconds: float = 20.0

    def __post_init__(self) -> None:
        if not is_whole_number(self.max_attempts) or self.max_attempts < 1:
            raise KernelConfigurationError(f"max_attempts is {self.max_attempts!r}; it takes a whole number from 1")
        for name in ("max_seconds", "base_seconds", "cap_seconds"):
            value = getattr(self, name)
            if not is_number(value) or value < 0:
                raise KernelConfigurationError(f"{name} is {value!r}; it takes a number of seconds from 0")

    def wait(self, state: RetryCallState) -> float:
        """Give the seconds to wait before the next attempt."""
        error = state.outcome.exception() if state.outcome else None
        drawn = wait_random_exponential(multiplier=self.base_seconds * 2, max=self.cap_seconds)(state)
        if requested_pause(error) is None:
            return drawn
        # Jitter on top of what the server asked for: clients that got the same time must not return at once.
        return pause_after(error, drawn) + wait_random(0, self.base_seconds)(state)

    def retrying(self, resend: Resend, *, name: str, logger: SafeLogger | None) -> Retrying:
        """
        Build tenacity's object that decides about the attempts of one request; one flow drives it.

        :param logger: gets a warning before each wait; ``None`` keeps silent, which a signal handler needs.
        """

        def log_retry(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            if logger is not None:
                logger.warning(
                    "%s: %s; attempt %d of at most %d, next one in %.1f s",
                    name,
                    error,
                    state.attempt_number,
                    self.max_attempts,
                    state.upcoming_sleep,
                )

        return Retrying(
            retry=retry_if_exception(lambda error: may_resend(resend, error)),
            stop=stop_after_attempt(self.max_attempts) | stop_before_delay(self.max_seconds),
            wait=self.wait,
            before_sleep=log_retry,
            reraise=True,
        )
