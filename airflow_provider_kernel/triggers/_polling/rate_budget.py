"""How many requests the subscriptions of a poller may send together."""

from __future__ import annotations

#: The share of the requests that the subscriptions would send individually.
SHARE = 1 / 50
#: Requests per second that are allowed in any case.
MIN_RATE = 4.0


class RateBudget:
    """Limit the requests of many subscriptions. All times are in seconds of one monotonic clock."""

    def __init__(self) -> None:
        #: Requests per second that the subscriptions would send individually.
        self.individual_rate = 0.0
        #: When the next request may be sent.
        self.free_at = float("-inf")
        self._paused_until = float("-inf")

    def charge(self, requests: int, now: float, *, share: float = SHARE) -> None:
        rate = max(MIN_RATE, self.individual_rate * share)
        self.free_at = max(self.free_at, now) + requests / rate

    def pause(self, seconds: float, now: float) -> None:
        """Obey a ``Retry-After``."""
        self._paused_until = max(self._paused_until, now + seconds)
        self.free_at = max(self.free_at, self._paused_until)

    def is_paused(self, now: float) -> bool:
        return now < self._paused_until
