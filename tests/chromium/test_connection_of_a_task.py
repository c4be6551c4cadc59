"""The connection of a task's process to its browser: a kill while it is made, and forked children."""

import os
import signal

import pytest
from support.emulated_browser import EmulatedBrowser

from airflow_provider_kernel.browser.handle import KernelBrowser
from airflow_provider_kernel.browser.page import Connection, aconnected, connected
from airflow_provider_kernel.client.errors import KernelTaskKilledError
from airflow_provider_kernel.operators.browser import _Use


@pytest.fixture
def emulated(kernel_emulator):
    with EmulatedBrowser(kernel_emulator) as browser:
        yield browser


def killed():
    raise KernelTaskKilledError


def test_task_that_was_killed_while_it_connected_gets_no_page(emulated):
    """The kill found no process of Playwright to end yet, and the far side stays open."""
    browser = KernelBrowser("b", hook=None, check=killed)
    with pytest.raises(KernelTaskKilledError), connected(browser, Connection(), address=emulated.cdp_url):
        pytest.fail("the function would run")


async def test_async_task_that_was_killed_while_it_connected_gets_no_page(emulated):
    browser = KernelBrowser("b", hook=None, check=killed)
    with pytest.raises(KernelTaskKilledError):
        async with aconnected(browser, Connection(), address=emulated.cdp_url):
            pytest.fail("the function would run")


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_forked_child_that_fails_leaves_the_page_to_the_task(emulated, error):
    browser = KernelBrowser("b", hook=None)
    use = _Use(browser, Connection(), emulated.cdp_url, is_killed=lambda: False)
    parent, child = os.getpid(), 0
    from airflow_provider_kernel.browser.filling import without_filled

    def function(page):
        nonlocal child
        page.goto("data:text/html,<title>One</title>")
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(8)
            raise error
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7  # it has not hung
        page.goto("data:text/html,<title>Two</title>")
        return page.title()

    try:
        with use.page():
            title = without_filled(function)()
    except error:
        if os.getpid() != parent:
            os._exit(7)
        raise
    finally:
        if os.getpid() != parent:
            os._exit(8)
    assert title == "Two"
