"""A client without a logger writes no log record at all: it must not wait for a lock that a signal has frozen."""

from __future__ import annotations

import logging
import sys

import pytest
from contract import troubles

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.client import log
from airflow_provider_kernel.client.http.log_filter import TRANSPORT_LOGGERS
from airflow_provider_kernel.client.resources.auth import get_auth_context
from airflow_provider_kernel.client.resources.invocations import flows, requests

LOUD = get_auth_context()


@pytest.fixture
def records(caplog):
    """All records of all loggers but the emulator's own, whose threads are named for it."""
    caplog.set_level(logging.DEBUG)
    for name in [*logging.root.manager.loggerDict]:
        if name.partition(".")[0] in ("httpx", "httpcore", "airflow_provider_kernel"):
            caplog.set_level(logging.DEBUG, logger=name)
    caplog.clear()
    return lambda: [record for record in caplog.records if not record.threadName.startswith("kernel-emulator")]


def loggers(records):
    return {record.name.partition(".")[0] for record in records}


@pytest.mark.parametrize("trouble", troubles.ALL)
def test_client_without_a_logger_logs_no_retries(connect, kernel_emulator, records, trouble):
    silent = connect(kernel_emulator, logger=None, read_timeout=0.05 if trouble == "no answer in time" else 10)
    fault = kernel_emulator.add_fault(troubles.fault_of(trouble, "*", "*", None))
    with pytest.raises(errors.KernelError):
        silent.send(LOUD)
    fault.release()
    assert len(kernel_emulator.journal) == 5
    assert records() == []


def test_client_without_a_logger_logs_no_success_and_no_connect_error(connect, kernel_emulator, records):
    silent = connect(kernel_emulator, logger=None)
    started = silent.run(flows.start_invocation(requests.create_invocation("demo", "hang")))
    silent.run(flows.cancel_invocation(started.id, "killed"))
    silent.pages(requests.list_invocations())
    with kernel_emulator.outage(), pytest.raises(errors.KernelConnectionError):
        silent.send(LOUD)
    assert records() == []


def test_client_with_a_logger_logs_every_retry(client, kernel_emulator, records):
    kernel_emulator.add_fault(troubles.fault_of("500", "*", "*", 3))
    client.send(LOUD)
    assert loggers(records()) == {"airflow_provider_kernel", "httpcore", "httpx"}
    told = [record.getMessage() for record in records() if record.name == log.name]
    assert len(told) == 3
    assert told[0].startswith(
        "GET /auth/context: 500 internal_error: A fault of the emulator "
        f"({kernel_emulator.base_url}); attempt 1 of at most 5"
    )
    assert "attempt 3 of at most 5" in told[2]


def test_client_logs_while_a_silent_one_sleeps(connect, kernel_emulator, records):
    silent, loud = connect(kernel_emulator, logger=None), connect(kernel_emulator)
    kernel_emulator.add_fault(troubles.fault_of("500", "DELETE", "*", 3))
    if connect.kind == "sync":
        silent.on_wait = lambda: loud.send(LOUD)
    with pytest.raises(errors.KernelNotFoundError):
        silent.send(requests.delete_invocation_browsers("abc"))
    loud.send(LOUD)
    said = " ".join(record.getMessage() for record in records())
    assert said.count("send_request_headers.started") == len(kernel_emulator.requests("GET")) >= 1
    assert "DELETE" not in said
    assert "/browsers" not in said


def test_client_logs_while_a_silent_one_sends(connect, kernel_emulator, records):
    silent, loud = connect(kernel_emulator, logger=None), connect(kernel_emulator)
    kernel_emulator.add_fault(troubles.fault_of("503", "DELETE", "*", 3))
    kernel_emulator.add_fault(troubles.fault_of("503", "GET", "*", 3))
    invocation_id = silent.send(requests.create_invocation("demo", "hang")).id
    quiet = requests.delete_invocation_browsers(invocation_id)
    connect.at_once((silent, quiet), (loud, LOUD), (silent, quiet), (loud, LOUD))
    assert len(kernel_emulator.requests("DELETE")) == len(kernel_emulator.requests("GET")) == 5
    said = [record.getMessage() for record in records()]
    assert len([line for line in said if "send_request_headers.started request=<Request [b'GET']>" in line]) == 5
    assert len([line for line in said if line.startswith("HTTP Request: GET ")]) == 5
    assert len([line for line in said if line.startswith("GET /auth/context: 503")]) == 3
    assert not [line for line in said if "DELETE" in line or "/browsers" in line]


def test_every_logger_of_the_transport_can_be_silenced(client):
    modules = [module for name, module in sys.modules.items() if name.partition(".")[0] in ("httpx", "httpcore")]
    used = {module.logger.name for module in modules if isinstance(getattr(module, "logger", None), logging.Logger)}
    assert used
    assert used <= set(TRANSPORT_LOGGERS)
