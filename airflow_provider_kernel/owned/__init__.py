"""
What tasks and DAG runs can own at Kernel: one module for each kind.

The safety net and the sweep go through :func:`kinds`, so that a new kind is one module and one line here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_kernel.lifecycle.resource import ListedResource


def kinds(*, dag_id: str, run_id: str) -> dict[str, ListedResource[Any]]:
    """Return how to list, read and end what the tasks of a DAG run own, by the name of the kind."""
    from airflow_provider_kernel.owned.browser import EndableBrowser
    from airflow_provider_kernel.owned.browser_mark import run_tags
    from airflow_provider_kernel.owned.invocation import EndableInvocation

    return {kind.kind: kind for kind in (EndableInvocation(), EndableBrowser(run_tags(dag_id, run_id)))}
