"""Limits: how many browsers and auth connections the organization may have, and has."""

from __future__ import annotations

from airflow_provider_kernel.client.http.model import ApiModel
from airflow_provider_kernel.client.http.request import Request
from airflow_provider_kernel.client.http.response import json_of


class OrgLimits(ApiModel):
    """
    The organization's limits and their use: the answer of ``GET /org/limits``.

    Advice, no reservation: two tasks may see the same free slot. The API leaves out what it does not know.

    :param max_concurrent_sessions: browsers at a time, over all projects.
    :param concurrent_sessions_used: browsers now; ``None``: cannot be read.
    :param concurrent_sessions_available: free slots now; ``None``: cannot be read.
    :param default_project_max_concurrent_sessions: of a project without a limit of its own; ``None``: no limit.
    :param max_auth_connections: ``None``: no limit.
    :param min_health_check_interval_seconds: shortest interval of an auth connection's health checks.
    :param max_vaults: ``None``: no limit.
    """

    max_concurrent_sessions: int | None = None
    concurrent_sessions_used: int | None = None
    concurrent_sessions_available: int | None = None
    default_project_max_concurrent_sessions: int | None = None
    max_auth_connections: int | None = None
    auth_connections_used: int | None = None
    min_health_check_interval_seconds: int | None = None
    max_vaults: int | None = None
    vaults_used: int | None = None


_org_limits = json_of(OrgLimits)


def get_limits() -> Request[OrgLimits]:
    """``GET /org/limits``: limits of the organization, and their use."""
    return Request("GET", "/org/limits", _org_limits)
