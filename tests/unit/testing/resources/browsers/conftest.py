from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_kernel.testing.resources.browsers import chromium

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx


@pytest.fixture
def create(client: httpx.Client) -> Callable[..., dict[str, Any]]:
    """Create a browser, and return it."""

    def create(**body: Any) -> dict[str, Any]:
        answer = client.post("/browsers", json={"headless": True, **body})
        assert answer.status_code == 200, answer.text
        created: dict[str, Any] = answer.json()
        return created

    return create


@pytest.fixture
def machine(client: httpx.Client, create: Callable[..., dict[str, Any]]) -> Callable[..., httpx.Response]:
    """Create a browser, and send a request to its machine: `machine("GET", "fs/list_files", params=...)`."""
    session = create()["session_id"]

    def send(method: str, path: str, **arguments: Any) -> httpx.Response:
        return client.request(method, f"/browsers/{session}/{path}", **arguments)

    return send


@pytest.fixture
def no_chromium(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(chromium.VARIABLE, raising=False)
    monkeypatch.setattr(chromium, "_PROGRAMS", ())
