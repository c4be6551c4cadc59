"""
How long a task is out of its process at least.

Airflow's scheduler learns late that a process has deferred or rescheduled its task: after the process has ended,
its supervisor has noticed, and the executor was asked. If the task is queued again before that, the scheduler takes
the report for one of the new process. It then fails the task ("finished with state success, but the task instance's
state attribute is queued"), whatever became of the object that the task waits for.

Airflow tells a trigger nothing of this, so that only time helps. The busier the machines are, the later the
scheduler learns it, and the later a triggerer takes a trigger up: that delay is added.
"""

from __future__ import annotations

import math
from typing import Any

from airflow_provider_kernel._compat import conf
from airflow_provider_kernel.client.safe_logger import SafeLogger
from airflow_provider_kernel.lifecycle.inline import has_no_triggerer

#: ``[kernel] min_deferral``, unless the configuration says otherwise. What it costs and how it was measured is in
#: ``docs/performance.md``.
DEFAULT_MIN_DEFERRAL_SECONDS = 10.0


def min_deferral_seconds(logger: Any) -> float:
    """
    Return for how many seconds a task is not to be queued again; 0 where no scheduler runs.

    :param logger: gets a warning about a setting that is no number of seconds. The default is then used: an error
        here would end what the task waits for.
    """
    if has_no_triggerer():
        return 0.0
    configured = conf.get("kernel", "min_deferral", fallback=str(DEFAULT_MIN_DEFERRAL_SECONDS))
    try:
        seconds = float(configured)
    except ValueError:
        seconds = math.nan
    if math.isfinite(seconds) and seconds >= 0:
        return seconds
    log = SafeLogger.of(logger)
    log.warning(
        "[kernel] min_deferral is %r; it takes a number of seconds from 0, and %s is used",
        configured,
        DEFAULT_MIN_DEFERRAL_SECONDS,
    )
    return DEFAULT_MIN_DEFERRAL_SECONDS


def seconds_to_hold(*, pickup: float, logger: Any) -> float:
    """
    Return for how long a trigger is to hold its event back, from when it began.

    :param pickup: the seconds from the deferral until then, by the clocks of two machines. More than the least
        length counts as that: the trigger may have been taken up again, and the clocks may differ.
    """
    least = min_deferral_seconds(logger)
    return least + min(max(0.0, pickup), least)
