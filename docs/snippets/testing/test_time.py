# [time]
import pytest

from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.testing import Fault, KernelEmulator


def test_an_hour_in_a_second(kernel_emulator, kernel_connection):
    kernel_emulator.time_scale = 3600.0  # emulated seconds in a real one

    with KernelHook() as hook:
        started = hook.invoke(
            "demo", "sleep", {"seconds": 1800}, async_timeout_seconds=3600
        )
        ended = kernel_emulator.wait_for_status(started.id, "succeeded")

    assert ended.output_json == {"slept": 1800}


def test_kernels_own_time_limit(kernel_emulator, kernel_connection):
    kernel_emulator.time_scale = 1000.0

    with KernelHook() as hook:
        started = hook.invoke("demo", "hang", async_timeout_seconds=60)
        ended = kernel_emulator.wait_for_status(started.id, "failed")

    assert ended.status_reason == "The invocation timed out after 60 seconds"


# [/time]


# [hold]
def test_an_answer_that_is_held_back(kernel_emulator, kernel_connection):
    held = kernel_emulator.add_fault(Fault("GET", "/invocations/*", hold=True))
    with KernelHook() as hook:
        started = hook.invoke("demo", "hang")
        kernel_emulator.finish(started.id, "succeeded", {"by": "hand"})
        held.release()
        assert hook.get_invocation(started.id).parsed_output() == {"by": "hand"}


# [/hold]


# [switches]
def test_the_plans_limit(monkeypatch):
    with KernelEmulator() as kernel:
        monkeypatch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", kernel.airflow_connection)
        kernel.switches.max_concurrent = 1
        kernel.switches.retry_after = None
        waits = []
        with KernelHook(sleep=waits.append) as hook:
            hook.invoke("demo", "hang")
            with pytest.raises(Exception, match="429"):
                hook.invoke("demo", "echo")
        assert kernel.most_active_at_once() == 1


# [/switches]
