"""The key is not in what is logged, even when a server shows it: in a stream's lines, in an answer's headers."""

from __future__ import annotations

import json
import logging

import pytest

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.http.log_filter import TRANSPORT_LOGGERS
from airflow_provider_kernel.client.http.redaction import MASK
from airflow_provider_kernel.client.resources.invocations import requests
from airflow_provider_kernel.client.resources.invocations.events import EventFollower
from airflow_provider_kernel.testing import Fault

KEY = "sk-very-secret"


@pytest.fixture
def client(connect, kernel_emulator):
    kernel_emulator.add_key(KEY)
    return connect(kernel_emulator, api_key=KEY)


@pytest.fixture
def told(caplog):
    """What the transport tells, at DEBUG."""
    for name in TRANSPORT_LOGGERS:
        caplog.set_level(logging.DEBUG, logger=name)
    return lambda: [record.getMessage() for record in caplog.records if record.name in TRANSPORT_LOGGERS]


def test_key_in_a_stream_is_not_logged(client, kernel_emulator):
    events = [
        {"event": "log", "message": f"sent with Bearer {KEY}", "timestamp": "2026-01-01T00:00:00Z"},
        {"event": "error", "error": {"code": "refused", "message": f"not with {KEY}"}},
        {"event": "invocation_state", "invocation": {"id": "abc", "status": "failed"}},
    ]
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events).encode()
    headers = {"Content-Type": "text/event-stream"}
    kernel_emulator.add_fault(Fault("GET", "/invocations/*/events", status=200, headers=headers, body=body))
    line, error = client.follow(EventFollower("abc"))
    assert line.message == f"sent with Bearer {MASK}"
    assert str(error) == f"refused: not with {MASK}"


@pytest.mark.parametrize("status", [200, 403])
def test_key_in_response_headers_is_not_logged_by_the_transport(status, client, kernel_emulator, told):
    fault = Fault("*", "*", None, status=status, headers={"X-Echo": f"Bearer {KEY}"}, body={})
    kernel_emulator.add_fault(fault)
    with pytest.raises(errors.KernelError):
        client.send(requests.get_invocation("abc"))
    with pytest.raises(errors.KernelError):
        client.events(requests.follow_invocation("abc", since="1h"), idle_timeout=10.0)
    assert len([text for text in told() if f"Bearer {MASK}" in text]) == 2
    assert [text for text in told() if KEY in text] == []
