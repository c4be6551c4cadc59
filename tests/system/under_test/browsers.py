"""Tasks with a browser: the operator, noting when Airflow calls it, and what their functions do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow.sdk import get_current_context

from airflow_provider_kernel.operators.browser import KernelBrowserTaskOperator
from under_test.browser_variants import CHECKS, CODE, PAGE, TITLE
from under_test.notices import ACTED, FAILS, is_open, note


class BrowserOperator(KernelBrowserTaskOperator):
    """The operator."""

    _noted_ti: Any = None

    def execute(self, context: Any) -> Any:
        self._noted_ti = context["ti"]
        note("execute", self._noted_ti, try_number=self._noted_ti.try_number)
        return super().execute(context)

    def on_kill(self) -> None:
        note("operator.on_kill", self._noted_ti)
        super().on_kill()


def blocked_in_its_page(page: Any, browser: Any) -> Any:
    """Stay in the page until somebody ends that; after the act of the test, until the gate is open."""
    page.goto(f"data:text/html,<title>{TITLE}</title>")
    with _noted(browser) as ti:
        while not is_open(ti):
            page.wait_for_timeout(100 if is_open(ti, ACTED) else 600_000)
        return _result(ti, browser, page.title())


def waits_and_checks(browser: Any) -> Any:
    """Wait for the gate without the browser, and look whether the task was killed."""
    with _noted(browser) as ti:
        while not is_open(ti):
            browser.check()
            time.sleep(0.05)
        return _result(ti, browser, TITLE)


def waits(browser: Any) -> Any:
    """Wait for the gate without the browser, and look at nothing else."""
    with _noted(browser) as ti:
        while not is_open(ti):
            time.sleep(0.05)
        return _result(ti, browser, TITLE)


FUNCTIONS = {PAGE: blocked_in_its_page, CHECKS: waits_and_checks, CODE: waits}


@contextmanager
def _noted(browser: Any) -> Iterator[Any]:
    ti: Any = get_current_context()["ti"]
    note("working", ti, session=browser.session_id)
    try:
        yield ti
    except BaseException as error:
        note("stopped", ti, error=type(error).__name__)
        raise


def _result(ti: Any, browser: Any, title: str) -> dict[str, Any]:
    if is_open(ti, FAILS):
        raise RuntimeError("the function fails, as the test wants")
    browser.check_active()  # nobody has ended the browser of a task that goes on
    return {"title": title, "session": browser.session_id}
