"""The API's timestamps, durations back from now, and the present."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

_TIMESTAMP = r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|z|[+-]\d\d:\d\d)"
#: Of a duration, as text: DAG files load this module, and few need it.
_DURATION = r"(\d+(?:\.\d+)?)(ms|h|m|s)"
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def parse_timestamp(text: str | None) -> datetime | None:
    """
    Read one of the API's timestamps, cut to microseconds.

    :param text: an RFC 3339 time with any number of fraction digits, or ``None``.
    :return: the time in UTC; ``None`` for ``None``, and for text that is no RFC 3339 time: some of the API's own
        examples are not, and no task should fail for a timestamp.
    """
    if text is None or (match := re.fullmatch(_TIMESTAMP, text)) is None:
        return None
    day, clock, fraction, zone = match.groups()
    try:
        when = datetime.fromisoformat(
            f"{day}T{clock}.{(fraction or '').ljust(6, '0')[:6]}{'+00:00' if zone in 'Zz' else zone}"
        )
    except ValueError:
        return None
    return usable_time(when)


def earliest_time(since: str, now: datetime) -> datetime | None:
    """Read a time, or a duration back from now such as ``"1h30m"``; ``None`` for what is neither."""
    parts = re.findall(_DURATION, since)
    if parts and "".join(number + unit for number, unit in parts) == since:
        return now - timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
    return parse_timestamp(since)


def utc_now() -> datetime:
    """Return the present by this machine's clock."""
    return datetime.now(timezone.utc)


def usable_time(when: datetime) -> datetime | None:
    """Convert a time to UTC; ``None`` if it is so near an end of the calendar that arithmetic would overflow."""
    return when.astimezone(timezone.utc) if 1000 < when.year < 9000 else None
