"""The ends of many objects at once, against the emulator."""

import pytest

from airflow_provider_kernel.client.client import KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.resources.invocations.requests import create_invocation
from airflow_provider_kernel.lifecycle import end_all as end_all_module
from airflow_provider_kernel.lifecycle.end_all import Obligation, end_all
from airflow_provider_kernel.lifecycle.ending import for_ending
from airflow_provider_kernel.owned.invocation import EndableInvocation
from airflow_provider_kernel.testing import KernelEmulator


@pytest.fixture
def obligations():
    """Start invocations at an emulator, and return what is to be done about them."""
    clients = []

    def start(emulator, number):
        config = KernelConfig(emulator.api_key, emulator.base_url)
        with KernelClient(config) as client:
            ids = [client.send(create_invocation("demo", "hang")).id for _ in range(number)]
        clients.append(KernelClient(for_ending(config)))
        return [Obligation(clients[-1], EndableInvocation(), external_id, "the run failed") for external_id in ids]

    yield start
    for client in clients:
        client.close()


def test_connection_that_hangs_does_not_hold_up_the_objects_of_another(obligations, kernel_emulator, monkeypatch):
    monkeypatch.setattr(end_all_module, "_MAX_THREADS", 2)
    monkeypatch.setattr(end_all_module, "LAST_ATTEMPT_SECONDS", 0.5)
    with KernelEmulator() as hanging:
        all_of_them = [*obligations(hanging, 3), *obligations(kernel_emulator, 3)]
        with hanging.outage("hang"):
            reports = end_all(all_of_them, seconds=1.0, next_in_line="the sweep")
    assert [report.is_done for report in reports] == [False] * 3 + [True] * 3
    assert [invocation.status for invocation in kernel_emulator.invocations] == ["failed"] * 3
