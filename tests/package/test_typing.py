"""What type checkers know of flows."""

from __future__ import annotations

from pathlib import Path

from mypy import api

ROOT = Path(__file__).parent.parent.parent

FLOW = """
from typing_extensions import assert_type

from airflow_provider_kernel.client.flow import Flow, Sleep
from airflow_provider_kernel.client.http.pagination import Page
from airflow_provider_kernel.client.resources.invocations import flows, requests
from airflow_provider_kernel.client.resources.invocations.models import Invocation


def cancel_the_first() -> Flow[str]:
    page = yield from requests.list_invocations()
    assert_type(page, Page[Invocation])
    yield Sleep(1.0)
    cancelled = yield from flows.cancel_invocation(page.items[0].id, "why")
    assert_type(cancelled, flows.Cancellation)
    return cancelled.invocation.id
"""

WRONG = """
from airflow_provider_kernel.client.flow import Flow
from airflow_provider_kernel.client.resources.invocations import requests


def start() -> Flow[str]:
    started: str = yield from requests.create_invocation("demo", "echo")
    return started
"""


def check_types(source, tmp_path):
    """Have mypy check a file as strictly as it checks the package."""
    path = tmp_path / "snippet.py"
    path.write_text(source)
    out, error, _ = api.run(["--config-file", str(ROOT / "pyproject.toml"), "--strict", str(path)])
    assert not error
    return out


def test_yield_from_a_request_has_the_type_of_its_answer(tmp_path):
    assert "Success: no issues found" in check_types(FLOW, tmp_path)


def test_a_wrong_type_for_the_answer_of_a_request_is_an_error(tmp_path):
    assert 'expression has type "Invocation", variable has type "str"' in check_types(WRONG, tmp_path)
