"""The kinds of DAG with a browser; read by the DAG file and by the tests."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

#: The code of the function: blocked in its page; without a page, with and without a look whether it was killed.
PAGE, CHECKS, CODE = "page", "checks", "code"

EXECUTION_TIMEOUT = 10
DAGRUN_TIMEOUT = 12

#: Variant -> (arguments of the task, arguments of the DAG).
BROWSER_VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "net": ({}, {"net": True}),
    "retries": ({"retries": 2, "retry_delay": timedelta(seconds=2)}, {}),
    "patient": ({"retries": 2, "retry_delay": timedelta(seconds=30)}, {}),
    "timeout": ({"execution_timeout": timedelta(seconds=EXECUTION_TIMEOUT)}, {}),
    "dagrun_timeout": ({}, {"dagrun_timeout": timedelta(seconds=DAGRUN_TIMEOUT)}),
}


def browser_dag_id(variant: str, body: str) -> str:
    """Name the DAG."""
    return f"browser_{variant}_{body}"


def browser_dag_ids() -> set[str]:
    """Name them all."""
    return {browser_dag_id(variant, body) for variant in BROWSER_VARIANTS for body in (PAGE, CHECKS, CODE)}
