"""What an error of a function that uses a browser means: the end of the browser, or of the connection to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_kernel.browser.page import Connection, is_playwright_error
from airflow_provider_kernel.client.errors import KernelConnectionError, KernelError
from airflow_provider_kernel.client.redaction import mask
from airflow_provider_kernel.client.resources.browsers.errors import KernelBrowserGoneError
from airflow_provider_kernel.client.sanitize import sanitize_line

if TYPE_CHECKING:
    from airflow_provider_kernel.browser.handle import KernelBrowser


def meaning_of(error: BaseException, browser: KernelBrowser, connection: Connection) -> KernelError | None:
    """
    Say what Playwright's error means, if the browser is gone or the connection to it.

    :return: ``None`` for another error, and for a page that the function itself has closed.
    """
    if not is_playwright_error(error) or connection.is_open:
        return None
    try:
        browser.check_active()
    except KernelBrowserGoneError as gone:
        return gone
    except KernelError:
        return None  # whether it is there is not known; Playwright's error says what is
    text = sanitize_line(mask(str(error)), 200)
    return KernelConnectionError(
        f"The connection to browser {browser.session_id} was closed, but the browser runs: {text}. Kernel closes "
        "connections after about an hour. Split the work into shorter tasks, or connect again to browser.cdp_url"
    )
