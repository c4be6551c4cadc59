"""The API's timestamps, and the present."""

from __future__ import annotations

import re
from datetime import datetime, timezone

_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|z|[+-]\d\d:\d\d)")


def parse_timestamp(text: str | None) -> datetime | None:
    """
    Read one of the API's timestamps, cut to microseconds.

    :param text: an RFC 3339 time with any number of fraction digits, or ``None``.
    :return: the time in UTC; ``None`` for ``None``, and for text that is no RFC 3339 time: some of the API's own
        examples are not, and no task should fail for a timestamp.
    """
    if text is None or (match := _TIMESTAMP.fullmatch(text)) is None:
        return None
    day, clock, fraction, zone = match.groups()
    try:
        when = datetime.fromisoformat(
            f"{day}T{clock}.{(fraction or '').ljust(6, '0')[:6]}{'+00:00' if zone in 'Zz' else zone}"
        )
    except ValueError:
        return None
    return usable_time(when)


def utc_now() -> datetime:
    """Return the present by this machine's clock."""
    return datetime.now(timezone.utc)


def usable_time(when: datetime) -> datetime | None:
    """Convert a time to UTC; ``None`` if it is so near an end of the calendar that arithmetic would overflow."""
    return when.astimezone(timezone.utc) if 1000 < when.year < 9000 else None
