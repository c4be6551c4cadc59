from __future__ import annotations

import json
import os

import httpx

from airflow_provider_kernel.testing.fixtures import kernel_connection, kernel_emulator

__all__ = ["kernel_connection", "kernel_emulator"]


def test_kernel_connection_points_at_the_emulator(kernel_connection, kernel_emulator):
    assert kernel_connection == "kernel_default"
    connection = json.loads(os.environ["AIRFLOW_CONN_KERNEL_DEFAULT"])
    assert connection == {
        "conn_type": "kernel",
        "host": kernel_emulator.base_url,
        "password": kernel_emulator.api_key,
    }
    headers = {"Authorization": f"Bearer {connection['password']}"}
    assert httpx.get(f"{connection['host']}/apps", headers=headers).status_code == 200


def test_kernel_emulator_is_new_for_each_test(kernel_emulator):
    assert kernel_emulator.journal == ()
