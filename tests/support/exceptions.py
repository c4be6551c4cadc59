"""Exceptions of Airflow's that only tests name; they have moved between versions."""

from __future__ import annotations

try:
    from airflow.sdk.exceptions import TaskDeferralError, TaskDeferralTimeout
except ImportError:  # Airflow 3.1
    from airflow.exceptions import TaskDeferralError, TaskDeferralTimeout

__all__ = ["TaskDeferralError", "TaskDeferralTimeout"]
