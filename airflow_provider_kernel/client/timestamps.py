"""The API's timestamps, and the present."""

from __future__ import annotations

import re
from datetime import datetime, timezone

_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|z|[+-]\d\d:\d\d)")


def parse_timestamp(text: str | None) -> datetime | None:
    """
    Read one of the API's timestamps, cut to microseconds.

    :param text: an RFC 3339 time with any number of fraction digits, or ``None``.
    :return: the time with its zone, or ``None`` for ``None`` and for text that is no RFC 3339 time: the API's
        own examples are not, and a time is never worth failing a task for.
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
    """Convert a time to UTC; ``None`` when nothing could be added to or taken from it: the calendar ends there."""
    return when.astimezone(timezone.utc) if 1000 < when.year < 9000 else None
