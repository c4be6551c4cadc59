"""``with hook.browser()``: a browser for a block of code."""

import copy
import pickle

import pytest

from airflow_provider_kernel.client import KernelConflictError, KernelServerError
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.testing import Fault


@pytest.fixture
def hook(kernel_connection):
    with KernelHook(sleep=lambda seconds: None) as hook:
        yield hook


def test_browser_ends_with_the_block(hook, kernel_emulator):
    with hook.browser(stealth=True) as browser:
        (record,) = kernel_emulator.browsers
        assert (record.session_id, record.options["stealth"]) == (browser.session_id, True)
    assert kernel_emulator.browsers[0].end_cause == "deleted"


def test_error_of_the_block_is_raised_although_the_end_fails(hook, kernel_emulator, caplog):
    kernel_emulator.add_fault(Fault("DELETE", "/browsers/*", nth=None, status=403))
    with pytest.raises(ZeroDivisionError), hook.browser() as browser:
        1 / 0  # noqa: B018
    assert f"Browser {browser.session_id} could not be ended" in caplog.text


def test_end_that_fails_is_the_error_of_a_block_without_one(hook, kernel_emulator):
    kernel_emulator.add_fault(Fault("DELETE", "/browsers/*", nth=None, status=501))
    with pytest.raises(KernelServerError), hook.browser():
        pass


def test_browser_holds_no_secret(hook, kernel_emulator):
    with hook.browser(headless=False) as browser:
        assert "jwt=" in browser.cdp_url
        assert "jwt=" in browser.live_view_url
        stored = pickle.dumps(browser)
        for text in (repr(browser), str(browser), str(vars(browser)), repr(stored), repr(copy.deepcopy(browser))):
            assert "jwt=" not in text
            assert kernel_emulator.api_key not in text
        assert pickle.loads(stored).session_id == browser.session_id  # noqa: S301 (our own)


def test_browser_of_somebody_else_that_has_the_name_goes_on(hook, kernel_emulator):
    options = {"name": "shared", "tags": {"team": "pricing"}}
    hook.browsers.create(**options)
    with pytest.raises(KernelConflictError), hook.browser(**options):
        pass
    assert [each.is_active for each in kernel_emulator.browsers] == [True]
