"""What the examples with a browser need on this machine."""

from __future__ import annotations


def what_is_missing() -> str | None:
    """Say what an emulated browser and its page lack here, and how to install it; None if they lack nothing."""
    from airflow_provider_kernel.browser.installed import INSTALL, has_playwright
    from airflow_provider_kernel.testing.resources.browsers.chromium import MissingChromiumError, find_chromium

    if not has_playwright():
        return f"Playwright is not installed: {INSTALL}"
    try:
        find_chromium()
    except MissingChromiumError as missing:
        return str(missing)
    return None
