"""Tasks with a browser: the operator, noting when Airflow calls it, and what their functions do."""

from __future__ import annotations

import os
import time
from typing import Any

from airflow.sdk import get_current_context

from airflow_provider_kernel.operators.browser import KernelBrowserTaskOperator
from under_test.browser_variants import CHECKS, CODE, PAGE
from under_test.notices import GATE, note


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
    """Stay in the page until somebody ends that, in the first try; later ones wait for the gate."""
    ti = _begin(browser)
    while ti.try_number > 1 and not _is_open(ti):
        page.wait_for_timeout(50)
    if not _is_open(ti):
        try:
            page.wait_for_timeout(600_000)
        except BaseException as error:
            note("unwound", ti, error=type(error).__name__)
            raise
    return {"title": page.title()}


def waits_and_checks(browser: Any) -> Any:
    """Wait for the gate, and look whether the task was killed."""
    ti = _begin(browser)
    try:
        while not _is_open(ti):
            browser.check()
            time.sleep(0.05)
    except BaseException as error:
        note("unwound", ti, error=type(error).__name__)
        raise
    return _result_of(ti)


def waits(browser: Any) -> Any:
    """Wait for the gate, and look at nothing else."""
    ti = _begin(browser)
    while not _is_open(ti):
        time.sleep(0.05)
    return _result_of(ti)


BODIES = {PAGE: blocked_in_its_page, CHECKS: waits_and_checks, CODE: waits}


def _begin(browser: Any) -> Any:
    ti: Any = get_current_context()["ti"]
    note("working", ti, session=browser.session_id)
    return ti


def _is_open(ti: Any) -> bool:
    return os.path.exists(f"{os.environ[GATE]}/{ti.run_id}")


def _result_of(ti: Any) -> dict[str, Any]:
    if os.path.exists(f"{os.environ[GATE]}/{ti.run_id}.fails"):
        raise RuntimeError("the function fails, as the test wants")
    return {"title": ""}
