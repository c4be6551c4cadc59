"""
Playwright's connection to a browser that runs at Kernel, and its end when the task is killed.

Playwright is imported when a task needs a page, never when a DAG is parsed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]

from airflow_provider_kernel.browser.handle import DOWNLOADS, mask_address
from airflow_provider_kernel.client.errors import KernelConnectionError
from airflow_provider_kernel.client.redaction import mask
from airflow_provider_kernel.client.sanitize import sanitize_line

if TYPE_CHECKING:
    from airflow_provider_kernel.browser.handle import KernelBrowser

#: Under their own names, in the browser's machine: Playwright's own setting names a folder of the worker.
_DOWNLOADS = {"behavior": "allow", "downloadPath": DOWNLOADS, "eventsEnabled": True}


class Connection:
    """
    The connection of a task's process to its browser: Playwright, in a process of its own.

    :meth:`end` ends every wait for the browser, whether or not the far side closes.
    """

    def __init__(self) -> None:
        self._remote: Any = None
        self._pid = os.getpid()

    @property
    def is_of_another_process(self) -> bool:
        """Whether this process was forked from the one that has connected. It must send nothing, nor wait."""
        return self._pid != os.getpid()

    @property
    def is_open(self) -> bool:
        return self._remote is None or bool(self._remote.is_connected())

    def end(self) -> None:
        """
        End the processes of Playwright that this one has started.

        For a signal handler, too: it takes no lock and waits for nothing. They are looked for only now: to go
        through the processes of a machine takes longer than to connect.
        """
        for process in psutil.Process().children():
            with contextlib.suppress(psutil.Error):  # it may have ended already
                if "run-driver" in process.cmdline():
                    process.kill()

    def has_connected(self, remote: Any) -> None:
        self._remote = remote


@contextmanager
def connected(browser: KernelBrowser, connection: Connection, *, address: str | None = None) -> Iterator[Any]:
    """
    Connect Playwright to a browser, and give its page.

    It is the page that the browser has, with the logins of its profile: a new context would have none of them.

    :param address: where to connect, if that is known: then Kernel is not asked.
    :raises KernelBrowserGoneError: when the browser has ended.
    :raises KernelConnectionError: when it cannot be reached.
    """
    from playwright.sync_api import Error, sync_playwright

    address = _masked(address) or browser.cdp_url
    manager = sync_playwright()
    playwright = manager.start()
    try:
        try:
            browser.check()  # a kill that came before found no process to end
            remote = playwright.chromium.connect_over_cdp(address)
            connection.has_connected(remote)
            remote.new_browser_cdp_session().send("Browser.setDownloadBehavior", _DOWNLOADS)
            context = remote.contexts[0]
            page = context.pages[0] if context.pages else context.new_page()
        except Error as error:
            raise _unreachable(browser, error) from None
        yield page
    finally:
        if not connection.is_of_another_process:
            with contextlib.suppress(Error):  # its process may have been ended
                playwright.stop()


@asynccontextmanager
async def aconnected(
    browser: KernelBrowser, connection: Connection, *, address: str | None = None
) -> AsyncIterator[Any]:
    """Do what :func:`connected` does, with Playwright's API for event loops."""
    from playwright.async_api import Error, async_playwright

    address = _masked(address) or browser.cdp_url
    playwright = await async_playwright().start()
    try:
        try:
            browser.check()  # a kill that came before found no process to end
            remote = await playwright.chromium.connect_over_cdp(address)
            connection.has_connected(remote)
            session = await remote.new_browser_cdp_session()
            await session.send("Browser.setDownloadBehavior", _DOWNLOADS)
            context = remote.contexts[0]
            page = context.pages[0] if context.pages else await context.new_page()
        except Error as error:
            raise _unreachable(browser, error) from None
        yield page
    finally:
        if not connection.is_of_another_process:
            with contextlib.suppress(Error):  # its process may have been ended
                await playwright.stop()


def is_playwright_error(error: BaseException) -> bool:
    """Return whether an error is Playwright's, without importing it."""
    return any(cls.__module__.startswith("playwright.") for cls in type(error).__mro__)


def _masked(address: str | None) -> str | None:
    if address:
        mask_address(address)
    return address


def _unreachable(browser: KernelBrowser, error: BaseException) -> KernelConnectionError:
    browser.check()
    browser.check_active()
    # Playwright puts the address, with its token, into its messages.
    text = sanitize_line(mask(str(error)), 200)
    return KernelConnectionError(f"Playwright cannot connect to browser {browser.session_id}: {text}")
