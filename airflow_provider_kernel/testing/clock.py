"""The emulator's clock, and Kernel's way of writing times."""

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
    Time on the emulated platform.

    :param scale: emulated seconds that pass in one real second. It shortens how long runs take and how
        soon they time out; the times that are written down stay real, so that clients can compare them.
    """

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self._lock = threading.Lock()
        self._last = 0

    @property
    def scale(self) -> float:
        """Emulated seconds that pass in one real second."""
        return self._scale

    @scale.setter
    def scale(self, scale: float) -> None:
        if not (scale > 0 and math.isfinite(scale)):
            raise ValueError(
                f"time_scale is {scale!r}; it is the number of emulated seconds in a real second and must be "
                "above 0: 1.0 is real time, 1000.0 lets 900 s pass in 0.9 s"
            )
        self._scale = float(scale)

    def now(self) -> int:
        """Return nanoseconds since 1970, never the same value twice."""
        with self._lock:
            self._last = max(time.time_ns(), self._last + 1)
            return self._last

    def real(self, seconds: float | None) -> float | None:
        """
        Turn emulated seconds into a timeout in real ones.

        :param seconds: emulated seconds; None or infinity means for ever.
        :return: real seconds, or None for ever.
        """
        if seconds is None or math.isinf(seconds):
            return None
        return min(max(0.0, seconds / self._scale), threading.TIMEOUT_MAX)


def format_time(nanoseconds: int) -> str:
    """Write a time as Kernel does: RFC 3339, UTC, nine fraction digits."""
    seconds, fraction = divmod(nanoseconds, NANOSECONDS)
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"


def parse_since(text: str, now: int) -> int:
    """
    Read a `since` parameter.

    :param text: an RFC 3339 time, or a duration back from now such as `5m` or `1h30m`.
    :param now: nanoseconds since 1970.
    :return: nanoseconds since 1970.
    :raises ValueError: when it is neither.
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
