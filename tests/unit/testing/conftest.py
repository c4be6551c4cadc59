from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from airflow_provider_kernel.testing import KernelEmulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def kernel() -> Iterator[KernelEmulator]:
    with KernelEmulator() as emulator:
        yield emulator


@pytest.fixture(scope="session")
def no_tls() -> ssl.SSLContext:
    """Spare every client the loading of the certificates, which takes longer than most tests."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@pytest.fixture
def client(kernel: KernelEmulator, no_tls: ssl.SSLContext) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {kernel.api_key}"}
    with httpx.Client(base_url=kernel.base_url, headers=headers, timeout=5, verify=no_tls) as opened:
        yield opened


@pytest.fixture
def invoke(kernel: KernelEmulator, client: httpx.Client) -> Callable[..., httpx.Response]:
    """
    Create an invocation, and return the answer.

    Unless `wait=False`, wait until an accepted one has ended, and return its GET. `payload` is a Python value.
    """

    def create(action: str, payload: Any = None, *, app: str = "demo", wait: bool = True, **rest: Any) -> Any:
        headers = rest.pop("headers", None)
        body = {"app_name": app, "version": "latest", "action_name": action, "async": True, **rest}
        if payload is not None:
            body["payload"] = json.dumps(payload)
        created = client.post("/invocations", json=body, headers=headers)
        if not wait or created.status_code != 202:
            return created
        invocation_id = created.json()["id"]
        kernel.wait_until(lambda: kernel.invocation(invocation_id).finished)
        return client.get(f"/invocations/{invocation_id}", headers=headers)

    return create


@pytest.fixture
def running(kernel: KernelEmulator, invoke: Callable[..., httpx.Response]) -> Callable[..., str]:
    """Start an action and return its invocation ID once it runs."""

    def start(action: str = "hang", payload: Any = None, **rest: Any) -> str:
        answer = invoke(action, payload, wait=False, **rest)
        assert answer.status_code == 202, answer.text
        invocation_id: str = answer.json()["id"]
        kernel.wait_for_status(invocation_id, "running")
        return invocation_id

    return start


@pytest.fixture
def follow(client: httpx.Client) -> Callable[..., Iterator[dict[str, Any]]]:
    """Yield the events of an invocation's stream."""

    def events(invocation_id: str, **params: str) -> Iterator[dict[str, Any]]:
        with client.stream("GET", f"/invocations/{invocation_id}/events", params=params) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["x-sse-content-type"] == "application/json"
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    return events
