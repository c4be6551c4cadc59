"""How requests are sent when Airflow is about to kill the process."""

from __future__ import annotations

from dataclasses import replace

from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.retry import RetryPolicy

#: How long ``on_kill`` may take: Airflow kills the process 5 s after the SIGTERM.
KILL_SECONDS = 3.5
#: How long a killed task waits for the answer to a request that is already in flight.
IN_FLIGHT_SECONDS = 1.5

_TIMEOUT = 1.2
_RETRY = RetryPolicy(max_attempts=3, max_seconds=3.0, base_seconds=0.05, cap_seconds=0.3)


def within_kill_budget(config: KernelConfig) -> KernelConfig:
    """Shorten the timeouts of a connection, so that a second attempt fits into :data:`KILL_SECONDS`."""
    return replace(
        config,
        connect_timeout=min(config.connect_timeout, _TIMEOUT),
        read_timeout=min(config.read_timeout, _TIMEOUT),
        retry=_RETRY,
    )
