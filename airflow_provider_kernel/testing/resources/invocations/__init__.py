"""``/invocations``: runs of actions, their log lines, and their browsers."""

from __future__ import annotations

from airflow_provider_kernel.testing.resources.invocations.routes import Invocations

__all__ = ["Invocations"]
