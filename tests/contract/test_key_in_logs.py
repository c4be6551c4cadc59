"""The key is not in what is logged, even when a server shows it; and an answer is data, whatever it contains."""

from __future__ import annotations

import json
import logging

import pytest

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.http.log_filter import TRANSPORT_LOGGERS
from airflow_provider_kernel.client.redaction import MASK
from airflow_provider_kernel.client.resources.invocations import requests
from airflow_provider_kernel.client.resources.invocations.event_models import LogLine
from airflow_provider_kernel.client.resources.invocations.events import EventFollower
from airflow_provider_kernel.task_log.writer import InvocationLog
from airflow_provider_kernel.testing import Fault

#: Keys of ordinary characters, and of such as each encoding writes in its own way.
KEYS = ["sk-very-secret", "sk\"'\\/<&>-secret"]
#: Two ways to write the same JSON.
WRITTEN = {
    "plainly": json.dumps,
    "in code points": lambda document: "".join(
        f"\\u{ord(c):04x}" if c in "sk" else c for c in json.dumps(document)
    ),
}


@pytest.fixture(params=KEYS)
def key(request):
    return request.param


@pytest.fixture
def client(connect, kernel_emulator, key):
    kernel_emulator.add_key(key)
    return connect(kernel_emulator, api_key=key)


@pytest.fixture
def told(caplog):
    """What the transport tells, at DEBUG."""
    for name in TRANSPORT_LOGGERS:
        caplog.set_level(logging.DEBUG, logger=name)
    return lambda: [record.getMessage() for record in caplog.records if record.name in TRANSPORT_LOGGERS]


@pytest.mark.parametrize("written", WRITTEN)
def test_key_in_a_stream_is_not_logged(client, kernel_emulator, key, written, caplog):
    caplog.set_level(logging.INFO)
    events = [
        {"event": "log", "message": f"sent with {key}", "timestamp": "2026-01-01T00:00:00Z"},
        {"event": "log", "message": f"sent {json.dumps({'key': key})} {key!r}"},
        {"event": "error", "error": {"code": "refused", "message": f"not with {key}"}},
        {"event": "invocation_state", "invocation": {"id": "abc", "status": "failed"}},
    ]
    body = "".join(f"data: {WRITTEN[written](event)}\n\n" for event in events).encode()
    headers = {"Content-Type": "text/event-stream"}
    kernel_emulator.add_fault(Fault("GET", "/invocations/*/events", status=200, headers=headers, body=body))
    log = InvocationLog(logging.getLogger("task"), "abc")
    for news in client.follow(EventFollower("abc")):
        log.write(news)
    text = "\n".join(record.getMessage() for record in caplog.records if record.name == "task")
    assert f"kernel | sent with {MASK}\n" in text
    assert f"error in the event stream: refused: not with {MASK}" in text
    assert text.count(MASK) == 4
    assert "secret" not in text


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("status", [401, 403, 500])
def test_key_in_an_error_answer_is_not_in_the_error(client, kernel_emulator, key, written, status):
    body = WRITTEN[written]({"code": "refused", "message": f"no such key: {key}, sorry"})
    kernel_emulator.add_fault(Fault("*", "*", None, status=status, body=body.encode()))
    with pytest.raises(errors.KernelAPIError) as caught:
        client.send(requests.get_invocation("abc"))
    assert caught.value.message == f"no such key: {MASK}, sorry"
    assert "secret" not in f"{caught.value} {caught.value!r} {vars(caught.value)}"


@pytest.mark.parametrize("status", [200, 403])
def test_key_in_response_headers_is_not_logged_by_the_transport(status, client, kernel_emulator, told, key):
    fault = Fault("*", "*", None, status=status, headers={"X-Echo": f"Bearer {key}"}, body={})
    kernel_emulator.add_fault(fault)
    with pytest.raises(errors.KernelError):
        client.send(requests.get_invocation("abc"))
    with pytest.raises(errors.KernelError):
        client.events(requests.follow_invocation("abc", since="1h"), idle_timeout=10.0)
    assert len([text for text in told() if f"Bearer {MASK}" in text]) == 2
    assert [text for text in told() if "secret" in text] == []


def test_answer_that_contains_the_key_is_parsed_as_it_is(client, kernel_emulator, key):
    row = {"id": "abc", "app_name": f"{key}-app", "output": json.dumps({"key": key}), "status": "succeeded"}
    kernel_emulator.add_fault(Fault("GET", "/invocations/abc", body=row))
    answer = client.send(requests.get_invocation("abc"))
    assert (answer.app_name, answer.parsed_output()) == (row["app_name"], {"key": key})


def test_line_of_a_stream_is_parsed_as_it_is(client, kernel_emulator, key):
    event = {"event": "log", "message": f"sent with {key}"}
    body = f"data: {json.dumps(event)}\n\n".encode()
    headers = {"Content-Type": "text/event-stream"}
    kernel_emulator.add_fault(Fault("GET", "/invocations/*/events", status=200, headers=headers, body=body))
    (line,) = client.events(requests.follow_invocation("abc", since="1h"), idle_timeout=10.0)
    assert line == LogLine(event="log", message=f"sent with {key}")
