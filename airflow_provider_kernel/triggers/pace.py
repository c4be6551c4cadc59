"""How often many waits together may ask Kernel, and in which way they ask it at least cost."""

from __future__ import annotations

#: In the interval in which each of many waits would look for itself, all of them together send so much less.
_SHARE = 1 / 50
#: What a few may send in any case, in requests a second.
_LEAST_RATE = 4.0
#: How long what is known of the list's length holds; afterwards it is tried again, however long it was.
_MEMORY_SECONDS = 300.0
#: A list that is behind gets so much time to come up.
_LAG_SECONDS = 30.0
#: What to expect of a list that nobody has read yet: one page of the queued and one of the running ones.
_FIRST_GUESS = 2


class Pace:
    """
    Keep the requests of many waits within bounds.

    All times are in seconds of one clock that only goes forward.
    """

    def __init__(self) -> None:
        self._rates = 0.0  # of all waits together, if each looked for itself
        self._free_at = float("-inf")
        self._called_at = float("-inf")
        self._cost = _FIRST_GUESS
        self._no_list_before = float("-inf")

    def joined(self, interval: float) -> None:
        """
        Count a wait in.

        :param interval: how often it wants to look.
        """
        self._rates += 1 / interval

    def left(self, interval: float) -> None:
        """
        Count a wait out.

        :param interval: as it joined.
        """
        self._rates = max(0.0, self._rates - 1 / interval)

    def rest(self, now: float) -> float:
        """Say how long to wait before the next request."""
        return max(0.0, self._free_at - now)

    def spent(self, requests: int, now: float) -> None:
        """
        Take note of requests, which are to be followed by a rest.

        :param requests: how many.
        :param now: when they were through.
        """
        if self._list_may_be_used(now):
            self._free_at = max(self._free_at, now + requests / max(_LEAST_RATE, self._rates * _SHARE))

    def refused(self, seconds: float, now: float) -> None:
        """
        Take note that the server wants a pause.

        :param seconds: how long.
        :param now: when it said so.
        """
        self._free_at = max(self._free_at, now + seconds)

    def called(self, requests: int, now: float, *, is_complete: bool) -> None:
        """
        Take note of a roll call.

        :param requests: how many requests the list took.
        :param now: when it was through.
        :param is_complete: whether it was read to its end.
        """
        self._called_at = now
        self._cost = requests if is_complete else 2 * requests

    def list_failed(self, now: float) -> None:
        """Take note that the list cannot be read, while single invocations can."""
        self._no_list_before = now + _MEMORY_SECONDS

    def list_told_too_little(self, now: float) -> None:
        """Take note that the list does not show (yet) most of what it should."""
        self._no_list_before = now + _LAG_SECONDS

    def prefers_the_list(self, *, waiting: int, due: int, interval: float, now: float) -> bool:
        """
        Say whether a roll call is cheaper than to ask for each that is due.

        It tells of all, so that it saves the next one a part of its work: the more, the longer the last one is ago.

        :param waiting: how many wait.
        :param due: how many of them want to know now.
        :param interval: how often they want to know.
        :param now: the present.
        """
        if not self._list_may_be_used(now):
            return False
        age = now - self._called_at
        if age > _MEMORY_SECONDS:
            self._cost = _FIRST_GUESS
        return self._cost < waiting and self._cost * (1 - age / interval) < due

    def _list_may_be_used(self, now: float) -> bool:
        return now >= self._no_list_before
