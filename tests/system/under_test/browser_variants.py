"""The kinds of DAG with a browser; read by the DAG file and by the tests."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

#: The code of the function: blocked in its page; without a page, with and without a look whether it was killed.
PAGE, CHECKS, CODE = FUNCTIONS = "page", "checks", "code"

#: The title of the page.
TITLE = "Prices"

EXECUTION_TIMEOUT = 7
DAGRUN_TIMEOUT = 8
#: The shortest that Kernel allows.
IDLE_TIMEOUT = 10

_DELAY = timedelta(seconds=2)

#: Variant -> (arguments of the task, arguments of the DAG); ``net`` is the DAG's net for failed runs, ``sibling`` a
#: task that has the DAG's only slot until the gate is opened.
BROWSER_VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "net": ({}, {"net": True}),
    "retries": ({"retries": 2, "retry_delay": _DELAY}, {}),
    "one_retry": ({"retries": 1, "retry_delay": _DELAY}, {}),
    # The next try comes when the API server is back: what cannot start without it uses up the retries.
    "patient": ({"retries": 2, "retry_delay": timedelta(seconds=30)}, {}),
    "timeout": ({"execution_timeout": timedelta(seconds=EXECUTION_TIMEOUT)}, {}),
    "dagrun_timeout": ({}, {"dagrun_timeout": timedelta(seconds=DAGRUN_TIMEOUT)}),
    "idles": ({"idle_timeout": IDLE_TIMEOUT}, {}),
    "held_back": ({}, {"max_active_tasks": 1, "sibling": True}),
}


def browser_dag_id(variant: str, body: str) -> str:
    """Name the DAG."""
    return f"browser_{variant}_{body}"


def browser_dag_ids() -> set[str]:
    """Name them all."""
    return {browser_dag_id(variant, body) for variant in BROWSER_VARIANTS for body in FUNCTIONS}
