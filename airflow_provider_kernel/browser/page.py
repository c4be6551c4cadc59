"""
Playwright's connection to a browser that runs at Kernel, and its end when the task is killed.

Playwright is imported when a task needs a page, never when a DAG is parsed.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]

from airflow_provider_kernel.browser.handle import DOWNLOADS
from airflow_provider_kernel.client.errors import KernelConfigurationError, KernelConnectionError
from airflow_provider_kernel.client.redaction import mask
from airflow_provider_kernel.client.sanitize import sanitize_line

if TYPE_CHECKING:
    from airflow_provider_kernel.browser.handle import KernelBrowser

INSTALL = "pip install 'airflow-provider-kernel[playwright]'"

#: Under their own names, in the browser's machine: Playwright's own setting names a folder of the worker.
_DOWNLOADS = {"behavior": "allow", "downloadPath": DOWNLOADS, "eventsEnabled": True}


class KernelPlaywrightMissingError(KernelConfigurationError):
    """Playwright is not installed where the task runs."""


class Connection:
    """
    The connection of a task's process to its browser: Playwright, in a process of its own.

    :meth:`end` ends every wait for the browser, whether or not the far side closes.
    """

    def __init__(self) -> None:
        self._before: set[Any] = set()
        self._drivers: list[Any] = []
        self._remote: Any = None
        #: Playwright's page, of either API; ``None`` before it is there.
        self.page: Any = None

    @property
    def is_open(self) -> bool:
        return self._remote is None or bool(self._remote.is_connected())

    def end(self) -> None:
        """End Playwright's process. For a signal handler, too: it takes no lock and waits for nothing."""
        for driver in self._drivers:
            with contextlib.suppress(psutil.NoSuchProcess):
                driver.kill()

    def will_start(self) -> None:
        """Note which processes there are before Playwright starts its own."""
        self._before = set(psutil.Process().children())

    def has_started(self) -> None:
        """Find the process that Playwright has started."""
        self._drivers = [each for each in psutil.Process().children() if each not in self._before and _drives(each)]

    def has_connected(self, remote: Any) -> None:
        self._remote = remote


def has_playwright() -> bool:
    """Return whether Playwright is installed, without importing it."""
    return importlib.util.find_spec("playwright") is not None


def require_playwright() -> None:
    """
    Raise where there is no Playwright.

    :raises KernelPlaywrightMissingError: when it is not installed.
    """
    if not has_playwright():
        raise KernelPlaywrightMissingError(
            f"The function takes a page, and Playwright is not installed on this worker: {INSTALL}. It needs no "
            "browser there"
        )


@contextmanager
def connected(browser: KernelBrowser, connection: Connection) -> Iterator[Any]:
    """
    Connect Playwright to a browser, and give its page.

    It is the page that the browser has, with the logins of its profile: a new context would have none of them.

    :raises KernelBrowserGoneError: when the browser has ended.
    :raises KernelConnectionError: when it cannot be reached.
    """
    from playwright.sync_api import Error, sync_playwright

    address = browser.cdp_url
    manager = sync_playwright()
    connection.will_start()
    playwright = manager.start()
    connection.has_started()
    try:
        try:
            remote = playwright.chromium.connect_over_cdp(address)
            connection.has_connected(remote)
            remote.new_browser_cdp_session().send("Browser.setDownloadBehavior", _DOWNLOADS)
            context = remote.contexts[0]
            connection.page = context.pages[0] if context.pages else context.new_page()
        except Error as error:
            raise _unreachable(browser, error) from None
        yield connection.page
    finally:
        with contextlib.suppress(Error):  # its process may have been ended
            playwright.stop()


@asynccontextmanager
async def aconnected(browser: KernelBrowser, connection: Connection) -> AsyncIterator[Any]:
    """Do what :func:`connected` does, with Playwright's API for event loops."""
    from playwright.async_api import Error, async_playwright

    address = browser.cdp_url
    connection.will_start()
    playwright = await async_playwright().start()
    connection.has_started()
    try:
        try:
            remote = await playwright.chromium.connect_over_cdp(address)
            connection.has_connected(remote)
            session = await remote.new_browser_cdp_session()
            await session.send("Browser.setDownloadBehavior", _DOWNLOADS)
            context = remote.contexts[0]
            connection.page = context.pages[0] if context.pages else await context.new_page()
        except Error as error:
            raise _unreachable(browser, error) from None
        yield connection.page
    finally:
        with contextlib.suppress(Error):  # its process may have been ended
            await playwright.stop()


def is_playwright_error(error: BaseException) -> bool:
    """Return whether an error is Playwright's, without importing it."""
    return any(cls.__module__.startswith("playwright.") for cls in type(error).__mro__)


def _drives(process: Any) -> bool:
    try:
        return "run-driver" in process.cmdline()
    except psutil.Error:  # it has ended already
        return False


def _unreachable(browser: KernelBrowser, error: BaseException) -> KernelConnectionError:
    browser.check()
    browser.check_active()
    # Playwright puts the address, with its token, into its messages.
    text = sanitize_line(mask(str(error)), 200)
    return KernelConnectionError(f"Playwright cannot connect to browser {browser.session_id}: {text}")
