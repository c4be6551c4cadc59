from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

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
