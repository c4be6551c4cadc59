"""Whether Playwright is installed, without importing it."""

from __future__ import annotations

import importlib.util

from airflow_provider_kernel.client.errors import KernelConfigurationError

INSTALL = "pip install 'airflow-provider-kernel[playwright]'"


class KernelPlaywrightMissingError(KernelConfigurationError):
    """Playwright is not installed where the task runs."""


def has_playwright() -> bool:
    """Return whether Playwright is installed here."""
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
