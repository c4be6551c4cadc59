# [faults]
import pytest

from airflow_provider_kernel.client import (
    KernelAmbiguousStartError,
    KernelAuthenticationError,
)
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.testing import Fault


def test_a_server_error_is_tried_again(kernel_emulator, kernel_connection):
    kernel_emulator.add_fault(Fault("GET", "/invocations/*", status=503))  # once

    with KernelHook() as hook:
        started = hook.invoke("demo", "echo", "hello")
        assert hook.get_invocation(started.id).app_name == "demo"

    assert len(kernel_emulator.requests("GET", "/invocations/*")) == 2


def test_a_start_whose_answer_is_lost(kernel_emulator, kernel_connection):
    kernel_emulator.add_fault(Fault("POST", "/invocations", drop="after"))

    with KernelHook() as hook, pytest.raises(KernelAmbiguousStartError):
        hook.invoke("demo", "echo", "hello")

    assert len(kernel_emulator.invocations) == 1  # it did start


def test_a_revoked_key(kernel_emulator, kernel_connection):
    kernel_emulator.add_fault(Fault("*", "*", nth=None, status=401))

    with KernelHook() as hook, pytest.raises(KernelAuthenticationError):
        hook.invoke("demo", "echo")


# [/faults]


# [outage]
def test_a_short_outage(kernel_emulator, kernel_connection):
    waits = []
    with KernelHook(sleep=waits.append) as hook:
        started = hook.invoke("demo", "echo", "hello")
        with kernel_emulator.outage(), pytest.raises(Exception, match="refused"):
            hook.get_invocation(started.id)
        assert hook.get_invocation(started.id).id == started.id

    assert len(waits) == 4  # five attempts


def test_an_end_during_an_outage(kernel_emulator, kernel_connection):
    with KernelHook(sleep=lambda seconds: outage.end()) as hook:
        started = hook.invoke("demo", "hang")
        outage = kernel_emulator.outage(
            "error", seconds=20, begin=("PATCH", "/invocations/*")
        )
        hook.cancel_invocation(started.id)

    assert outage.over
    assert kernel_emulator.invocation(started.id).status == "failed"


# [/outage]
