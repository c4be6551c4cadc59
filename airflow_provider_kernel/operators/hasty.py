"""How requests are made when Airflow is about to kill the process."""

from __future__ import annotations

from dataclasses import replace

from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.retry import RetryPolicy

#: What ``on_kill`` may take: Airflow kills the process 5 s after the SIGTERM.
KILL_SECONDS = 3.5
#: How long a killed task waits for an answer that is already under way.
ANSWER_SECONDS = 1.5

_TIMEOUT = 1.2
_RETRY = RetryPolicy(max_attempts=3, max_seconds=3.0, base_seconds=0.05, cap_seconds=0.3)


def hasty(config: KernelConfig) -> KernelConfig:
    """
    Make every request short, so that there is time for another attempt.

    :param config: how to reach the API.
    """
    return replace(
        config,
        connect_timeout=min(config.connect_timeout, _TIMEOUT),
        read_timeout=min(config.read_timeout, _TIMEOUT),
        retry=_RETRY,
    )
