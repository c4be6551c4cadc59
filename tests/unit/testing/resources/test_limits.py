from __future__ import annotations

import pytest

from airflow_provider_kernel.testing.resources.limits import Limits

UNUSED = {
    "max_concurrent_sessions": 5,
    "concurrent_sessions_used": 0,
    "concurrent_sessions_available": 5,
    "default_project_max_concurrent_sessions": None,
    "max_auth_connections": 3,
    "auth_connections_used": 0,
    "max_vaults": None,
    "vaults_used": 0,
    "min_health_check_interval_seconds": 21_600,
}


def test_limits_are_those_of_the_smallest_plan_by_default(client):
    answer = client.get("/org/limits")
    assert (answer.status_code, answer.json()) == (200, UNUSED)


@pytest.mark.parametrize(("used", "available"), [(4, 1), (5, 0), (6, 0), (None, None)])
def test_limits_count_free_sessions(kernel, client, used, available):
    kernel.room(Limits).concurrent_sessions_used = used
    expected = {**UNUSED, "concurrent_sessions_used": used, "concurrent_sessions_available": available}
    assert client.get("/org/limits").json() == expected


def test_limits_survive_a_reset(kernel, client):
    kernel.room(Limits).max_concurrent_sessions = 150
    kernel.reset()
    assert client.get("/org/limits").json()["max_concurrent_sessions"] == 150


def test_limits_without_a_valid_key_are_a_401(client):
    assert client.get("/org/limits", headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_limits_can_only_be_read(client):
    answer = client.put("/org/limits")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
