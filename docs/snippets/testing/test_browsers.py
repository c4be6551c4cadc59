# [browsers]
import pytest

from airflow_provider_kernel.client import (
    KernelBrowserGoneError,
    KernelBrowserLimitError,
)
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.testing.resources.browsers import Browsers
from airflow_provider_kernel.testing.resources.limits import Limits


def test_a_command_in_a_browsers_machine(kernel_emulator, kernel_connection):
    def greet(args):
        return f"hello {args[0]}"

    kernel_emulator.room(Browsers).register_command("greet", greet)
    with KernelHook() as hook:
        created = hook.browsers.create(tags={"team": "prices"})
        result = hook.browsers.exec(created.session_id, "greet", args=["you"])

    assert result.stdout == b"hello you"
    (browser,) = kernel_emulator.browsers
    assert (browser.tags, browser.is_active) == ({"team": "prices"}, True)


def test_a_browser_that_idles_out(kernel_emulator, kernel_connection):
    kernel_emulator.time_scale = 1000.0  # 300 emulated seconds are 0.3 real ones
    with KernelHook() as hook:
        created = hook.browsers.create(idle_timeout=300)
        kernel_emulator.wait_until(
            lambda: kernel_emulator.browsers[0].end_cause == "idle"
        )
        with pytest.raises(KernelBrowserGoneError):
            hook.browsers.list_files(created.session_id, "/")


def test_no_place_for_a_browser(kernel_emulator, kernel_connection):
    kernel_emulator.room(Limits).max_concurrent_sessions = 1
    with KernelHook() as hook:
        hook.browsers.create()
        with pytest.raises(KernelBrowserLimitError, match="1 of 1 sessions"):
            hook.browsers.create(start_timeout=0)


# [/browsers]
