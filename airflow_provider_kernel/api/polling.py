"""How long to wait between two looks at an invocation."""

from __future__ import annotations

import random
from collections.abc import Iterator

_FIRST_SECONDS = 0.5


def poll_delays(interval: float) -> Iterator[float]:
    """
    Give the waits between looks: short at first, since many runs are short, then about ``interval``.

    :param interval: seconds between looks in the long run.
    :return: endless seconds, each up to a tenth longer or shorter, so that many tasks do not look in step.
    """
    delay = min(_FIRST_SECONDS, interval)
    while True:
        yield delay * random.uniform(0.9, 1.1)  # noqa: S311 (spreads load, guards nothing)
        delay = min(delay * 1.5, interval)
