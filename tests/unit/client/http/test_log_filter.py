"""What httpx and httpcore log of an answer is one harmless line, and never fails the request."""

import logging

import pytest
from support.hostile_text import EVIL, check_harmless

from airflow_provider_kernel.client.http.log_filter import TRANSPORT_LOGGERS


@pytest.mark.parametrize("name", TRANSPORT_LOGGERS)
def test_transport_logs_foreign_text_as_a_harmless_line(name, caplog):
    logging.getLogger(name).warning('HTTP Request: %s %s "%s %d %s"', "GET", "https://a", "HTTP/1.1", 200, EVIL)
    (record,) = caplog.records
    check_harmless(record.getMessage())
    assert "Task succeeded" in record.getMessage()


def test_transport_log_line_that_cannot_be_formatted_does_not_fail_the_request(monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    monkeypatch.setattr(logging.getLogger("httpx"), "propagate", False)
    logging.getLogger("httpx").warning("%d", "no number")
