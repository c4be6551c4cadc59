"""What a task's log says of the page when its function fails: where it was, and what its console said."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_kernel.client.safe_logger import get_logger, side_information
from airflow_provider_kernel.client.sanitize import sanitize_line

if TYPE_CHECKING:
    from playwright.async_api import Page as AsyncPage
    from playwright.sync_api import Page

log = get_logger(__name__)

#: How many of the last errors of the console are kept.
_MAX_ERRORS = 5
_MAX_CHARACTERS = 300
#: How long the page may take to say its title, in seconds. A page whose script never ends says nothing.
_TITLE_SECONDS = 2.0


class PageReport:
    """
    Listens to the console of a page, and logs what is known of the page.

    :param page: Playwright's, of either API.
    """

    def __init__(self, page: Page | AsyncPage) -> None:
        self._page: Any = page
        self._errors: deque[str] = deque(maxlen=_MAX_ERRORS)
        self._page.on("console", self._add_message)
        self._page.on("pageerror", lambda error: self._add(str(error)))

    def log(self, *, give_up: Callable[[], object]) -> None:
        """
        Log the page's address, title and last errors.

        :param give_up: ends the connection to the page, when it does not answer.
        """
        with side_information("What the page showed is not known", log):
            timer = threading.Timer(_TITLE_SECONDS, give_up)
            timer.start()
            try:
                title = self._page.title()
            except Exception as error:  # noqa: BLE001 (whatever Playwright makes of a page that is gone)
                title = f"not known: {type(error).__name__}"
            finally:
                timer.cancel()
            self._write(title)

    async def alog(self) -> None:
        """Do what :meth:`log` does, in an event loop."""
        with side_information("What the page showed is not known", log):
            try:
                title = await asyncio.wait_for(self._page.title(), _TITLE_SECONDS)
            except Exception as error:  # noqa: BLE001 (whatever Playwright makes of a page that is gone)
                title = f"not known: {type(error).__name__}"
            self._write(title)

    def _write(self, title: str) -> None:
        address = without_query(self._page.url)
        log.error("The page was %s, title: %s", address, sanitize_line(title, _MAX_CHARACTERS) or "(empty)")
        for text in self._errors:
            log.error("Its console said: %s", text)

    def _add_message(self, message: Any) -> None:
        if message.type == "error":
            self._add(message.text)

    def _add(self, text: str) -> None:
        # Cut only after secrets are masked: half of one is not known to be one.
        self._errors.append(sanitize_line(text, _MAX_CHARACTERS))


def without_query(address: str) -> str:
    """Return an address without what often holds secrets: user, query and fragment."""
    parts = urlsplit(address)
    if not parts.netloc:
        return sanitize_line(f"{parts.scheme}:{'...' if parts.scheme == 'data' else parts.path}", _MAX_CHARACTERS)
    host = parts.netloc.rpartition("@")[2]
    return sanitize_line(f"{parts.scheme}://{host}{parts.path}", _MAX_CHARACTERS)
