"""The fetch of the invocation by an operator that goes on after its deferral."""

from __future__ import annotations

from typing import Any

from airflow_provider_kernel._compat import AirflowTaskTimeout
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationTimeoutError
from airflow_provider_kernel.client.resources.invocations.models import Invocation
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.operators._failure import log_failure
from airflow_provider_kernel.operators._limits import EXECUTION_TIMEOUT
from airflow_provider_kernel.owned.invocation import fetch_after_deferral


def fetch_resumed(
    hook: KernelHook, event: dict[str, Any] | None, invocation_id: str | None, *, ti: Any, logger: Any
) -> Invocation:
    """
    Do what :func:`fetch_after_deferral` does, with Airflow's own error for Airflow's own limit.

    :raises AirflowTaskTimeout: when the invocation did not end within ``execution_timeout``.
    """
    try:
        return fetch_after_deferral(hook, event, invocation_id, ti.start_date)
    except KernelInvocationTimeoutError as error:
        if (event or {}).get("limit") == EXECUTION_TIMEOUT:
            log_failure(error, logger)
            raise AirflowTaskTimeout(str(error)) from None
        raise
