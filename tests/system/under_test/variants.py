"""The kinds of DAG that the matrix needs; read by the DAG file and by the tests."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

BLOCKING, DEFERRABLE = "blocking", "deferrable"
MAPPED = "mapped"  # deferrable, two of them
MAPPED_BLOCKING = "mapped_blocking"

_RETRIES = {"retries": 2, "retry_delay": timedelta(seconds=2)}
_ALL = (BLOCKING, DEFERRABLE, MAPPED, MAPPED_BLOCKING)

#: Seconds, of the variants that have one.
EXECUTION_TIMEOUT = 12
DAGRUN_TIMEOUT = 12
AIRFLOW_TIMEOUT = 6

#: What rows with an outage of Kernel have: a mark in the payload for the sweep, and the safety net for both ends.
_MARKED, _SAFE = {"marked": True}, {"safety_net": True}
_MANY_RETRIES = {"retries": 20, "retry_delay": timedelta(seconds=5)}
_ONE_RETRY = {"retries": 1, "retry_delay": timedelta(seconds=2)}

#: Variant -> (modes, arguments of the task, arguments of the DAG); ``net`` is the DAG's net for failed runs,
#: ``task_net`` that of its tasks, and ``sibling`` a task that goes on until the gate is opened.
VARIANTS: dict[str, tuple[tuple[str, ...], dict[str, Any], dict[str, Any]]] = {
    "plain": (_ALL, {}, {}),
    "net": (_ALL, {}, {"net": True}),
    "retries": (_ALL, _RETRIES, {}),
    # The next try comes when the API server is back: what cannot start without it uses up the retries.
    "patient": ((BLOCKING, DEFERRABLE), {"retries": 2, "retry_delay": timedelta(seconds=30)}, {}),
    "timeout": (_ALL, {"execution_timeout": timedelta(seconds=EXECUTION_TIMEOUT)}, {}),
    "dagrun_timeout": ((BLOCKING, DEFERRABLE), {}, {"dagrun_timeout": timedelta(seconds=DAGRUN_TIMEOUT)}),
    "airflow_timeout": ((DEFERRABLE,), {"airflow_timeout": AIRFLOW_TIMEOUT}, {}),
    "trigger_crash": ((DEFERRABLE,), {"trigger_crashes": True}, {}),
    "gated": ((DEFERRABLE,), {"gated": True}, {"net": True}),
    "gated_retries": ((DEFERRABLE,), {"gated": True, **_RETRIES}, {}),
    "deleted": ((DEFERRABLE,), {}, {}),
    "short": ((BLOCKING, DEFERRABLE, MAPPED), {"seconds": 10}, {}),
    "failing": ((BLOCKING, DEFERRABLE), {"fails": True, "retries": 1, "retry_delay": timedelta(seconds=1)}, {}),
    "held_back": ((BLOCKING, DEFERRABLE), {}, {"max_active_tasks": 1, "sibling": True}),
    "safe": ((BLOCKING, DEFERRABLE), _MARKED, _SAFE),
    "safe_last_try": ((BLOCKING,), {**_MARKED, **_ONE_RETRY}, _SAFE),
    "safe_retries": ((BLOCKING, DEFERRABLE), {**_MARKED, **_MANY_RETRIES}, _SAFE),
    "safe_gated": ((DEFERRABLE,), {**_MARKED, "gated": True}, _SAFE),
    "safe_gated_retries": ((DEFERRABLE,), {**_MARKED, "gated": True, **_MANY_RETRIES}, _SAFE),
    "late_retry": ((BLOCKING,), {"retries": 1, "retry_delay": timedelta(seconds=600)}, _SAFE),
    "one_retry": ((BLOCKING,), _ONE_RETRY, {}),
    "marked": ((BLOCKING,), _MARKED, {}),
    "both_nets": ((BLOCKING,), {}, {"net": True, "task_net": True, "sibling": True}),
    "net_retry": ((BLOCKING,), _ONE_RETRY, {"net": True}),
    "brief": ((DEFERRABLE,), {"items": 40, "seconds": 0.5, "longest": 15.0}, {}),
    "crowd": (
        (DEFERRABLE,),
        {"items": 200, "poll_interval": 5, "seconds": 3000, "async_timeout_seconds": 3600},
        {"net": True},
    ),
}


def dag_id(variant: str, mode: str) -> str:
    """Name the DAG."""
    return f"{variant}_{mode}"


def dag_ids() -> set[str]:
    """Name them all."""
    return {dag_id(variant, mode) for variant, (modes, _, _) in VARIANTS.items() for mode in modes}
