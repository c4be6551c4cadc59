"""The emulated clock, and Kernel's format of times."""

from __future__ import annotations

import math
import re
import threading
import time
from datetime import datetime, timedelta, timezone

NANOSECONDS = 1_000_000_000

_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:([Zz])|([+-])(\d\d):(\d\d))",
    re.ASCII,
)
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|h|m|s))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)", re.ASCII)
_UNIT_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Clock:
    """
    The emulated clock.

    :param scale: emulated seconds in a real second. It shortens waits and timeouts. Recorded times stay real,
        so that clients can compare them with their own.
    """

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self._lock = threading.Lock()
        self._last = 0

    @property
    def scale(self) -> float:
        """Emulated seconds in a real second."""
        return self._scale

    @scale.setter
    def scale(self, scale: float) -> None:
        if not (scale > 0 and math.isfinite(scale)):
            raise ValueError(
                f"time_scale is {scale!r}; it is the number of emulated seconds in a real second and must be "
                "above 0: 1.0 is real time, at 1000.0 a wait of 900 s takes 0.9 s"
            )
        self._scale = float(scale)

    def now(self) -> int:
        """Return nanoseconds since 1970; no value is returned twice."""
        with self._lock:
            self._last = max(time.time_ns(), self._last + 1)
            return self._last

    def real(self, seconds: float | None) -> float | None:
        """
        Convert emulated seconds into a timeout in real seconds.

        :param seconds: emulated seconds; None or infinity for no timeout.
        :return: real seconds, or None for no timeout.
        """
        if seconds is None or math.isinf(seconds):
            return None
        return min(max(0.0, seconds / self._scale), threading.TIMEOUT_MAX)


def format_time(nanoseconds: int) -> str:
    """Format a time as Kernel does: RFC 3339, UTC, nine fraction digits."""
    seconds, fraction = divmod(nanoseconds, NANOSECONDS)
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"


def parse_since(text: str, now: int) -> int:
    """
    Parse a `since` parameter.

    :param text: an RFC 3339 time, or a duration back from now such as `5m` or `1h30m`.
    :param now: nanoseconds since 1970.
    :return: nanoseconds since 1970.
    :raises ValueError: if it is neither.
    """
    if _DURATION.fullmatch(text):
        seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
        return now - int(seconds * NANOSECONDS)
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is neither an RFC 3339 time nor a duration such as 5m")
    day, clock, fraction, _, sign, hours, minutes = match.groups()
    moment = datetime.strptime(f"{day}T{clock}", "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    if sign:
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        moment -= offset if sign == "+" else -offset
    whole = (moment - _EPOCH) // timedelta(seconds=1)
    return whole * NANOSECONDS + int((fraction or "").ljust(9, "0"))
