"""One emulator for all histories of a module, in which no time is lost."""

import sys
from contextlib import nullcontext

import pytest
from airflow.sdk.execution_time.supervisor import InProcessTestSupervisor
from support.histories import clock, kernel as network, process
from support.histories.plans import FETCHING, FIRST_ACT
from support.histories.process import current

from airflow_provider_kernel.lifecycle import ending, owner
from airflow_provider_kernel.lifecycle.ledger import Ledger
from airflow_provider_kernel.owned.invocation import OwnedInvocation, fetch_after_deferral
from airflow_provider_kernel.testing import KernelEmulator


@pytest.fixture(scope="module")
def kernel():
    with KernelEmulator() as kernel, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", kernel.airflow_connection)
        patch.setattr("airflow_provider_kernel.owned.invocation.OwnedInvocation.listing_lag_seconds", 0.0)
        # One refusal of the key loses contact.
        patch.setattr("airflow_provider_kernel.client.outage.ACCESS_SECONDS", 0.0)
        patch.setattr("airflow_provider_kernel.operators.invocation.FIRST_POLL_SECONDS", 0.0)
        # Those two minutes take no time here.
        patch.setattr(owner, "WORKER_END_SECONDS", ending.WORKER_END_SECONDS)
        # Here the tries of a task follow each other in milliseconds, and there is one clock.
        patch.setattr(
            "airflow_provider_kernel.client.resources.invocations.find_started._by_the_servers_clock",
            lambda since, now, server: since,
        )
        # A socket and a thread per process of a task, for operators that start processes of their own.
        patch.setattr(InProcessTestSupervisor, "_setup_subprocess_socket", lambda supervisor: nullcontext())
        for search in ("get", "find"):
            patch.setattr(OwnedInvocation, search, _and_then(getattr(OwnedInvocation, search)))
        patch.setattr("airflow_provider_kernel.owned.invocation.fetch_after_deferral", _fetch)
        patch.setattr(Ledger, "last", _last_before_first_act(Ledger.last))
        process.install(patch)
        clock.install(patch)
        network.install(patch)
        switch_interval = sys.getswitchinterval()
        sys.setswitchinterval(0.0002)  # the threads of a task and of the emulator wait for each other all the time
        yield kernel
        sys.setswitchinterval(switch_interval)


def _last_before_first_act(last):
    def last_before_first_act(ledger):
        found = last(ledger)
        if not current().has_read_ledger:
            current().has_read_ledger = True
            current().at(FIRST_ACT)
        return found

    return last_before_first_act


def _fetch(*args):
    current().at(FETCHING)
    return fetch_after_deferral(*args)


def _and_then(search):
    def search_and_then(*args, **options):
        found = yield from search(*args, **options)
        current().at("after the search for what was started")
        return found

    return search_and_then
