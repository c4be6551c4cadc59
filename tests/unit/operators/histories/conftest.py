"""One emulator for all histories of a module, in which no time is lost."""

from __future__ import annotations

import sys
from contextlib import nullcontext

import pytest
from airflow.sdk.execution_time.supervisor import InProcessTestSupervisor
from support.histories.process import PROCESS

from airflow_provider_kernel.client.client import AsyncKernelClient, KernelClient
from airflow_provider_kernel.client.errors import KernelConnectionError
from airflow_provider_kernel.owned.invocation import OwnedInvocation
from airflow_provider_kernel.testing import KernelEmulator


@pytest.fixture(scope="module")
def kernel():
    """One emulator for all, and no time is lost."""
    with KernelEmulator() as kernel, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", kernel.airflow_connection)
        patch.setattr("airflow_provider_kernel.owned.invocation.OwnedInvocation.listing_lag_seconds", 0.0)
        patch.setattr("airflow_provider_kernel.client.resources.invocations.wait.LOST_CONTACT_SECONDS", 0.0)
        patch.setattr("airflow_provider_kernel.operators.invocation.FIRST_POLL_SECONDS", 0.0)
        patch.setattr("airflow_provider_kernel.client.retry.RetryPolicy.wait", lambda policy, state: 0.0)
        # Here the tries of a task follow each other in milliseconds, and there is one clock.
        patch.setattr(
            "airflow_provider_kernel.client.resources.invocations.find_started._by_the_servers_clock",
            lambda since, now, server: since,
        )
        # A socket and a thread per process of a task, for operators that start processes of their own.
        patch.setattr(InProcessTestSupervisor, "_setup_subprocess_socket", lambda supervisor: nullcontext())
        for search in ("get", "find"):
            patch.setattr(OwnedInvocation, search, _and_then(getattr(OwnedInvocation, search)))
        for client in (KernelClient, AsyncKernelClient):
            patch.setattr(client, "run", _unless_dead(client.run))
        switch_interval = sys.getswitchinterval()
        sys.setswitchinterval(0.0002)  # the threads of a task and of the emulator wait for each other all the time
        yield kernel
        sys.setswitchinterval(switch_interval)


def _and_then(search):
    def search_and_then(*args, **options):
        found = yield from search(*args, **options)
        PROCESS.at("after the search for what was started")
        return found

    return search_and_then


def _unless_dead(run):
    def run_unless_dead(*args, **kwargs):
        if PROCESS.is_dead:
            raise KernelConnectionError("the process is dead", sent=False)
        return run(*args, **kwargs)

    return run_unless_dead
