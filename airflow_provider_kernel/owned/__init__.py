"""
What tasks and DAG runs can own at Kernel: one module for each kind.

The safety net and the sweep go through :func:`kinds`, so that a new kind is one module and one line here.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_kernel.lifecycle.resource import ListedResource


def kinds() -> dict[str, ListedResource[Any]]:
    """Return how to list, read and end the objects of each kind, by the name of the kind."""
    from airflow_provider_kernel.owned.invocation import EndableInvocation

    return {kind.kind: kind for kind in (EndableInvocation(),)}
