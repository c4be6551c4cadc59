from __future__ import annotations

import logging
import struct
import sys

import pytest
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus
from websockets.sync.client import connect

from airflow_provider_kernel.testing import Fault

pytestmark = pytest.mark.usefixtures("no_chromium")


@pytest.fixture
def address(create):
    return create()["cdp_ws_url"]


def test_connection_says_what_to_install(kernel, address):
    with connect(address) as connection, pytest.raises(ConnectionClosed) as closed:
        connection.recv(timeout=10)
    assert closed.value.rcvd.code == 1011
    assert closed.value.rcvd.reason == (
        "No Chromium is installed: run apt-get install chromium, or set KERNEL_EMULATOR_CHROMIUM to a Chromium"
    )
    kernel.wait_until(lambda: kernel.browsers[0].clients == 0)
    assert kernel.browsers[0].connections == 1


def test_connection_names_a_chromium_that_is_not_there(address, monkeypatch):
    monkeypatch.setenv("KERNEL_EMULATOR_CHROMIUM", "/none")
    with connect(address) as connection, pytest.raises(ConnectionClosed, match=r"names no program .*: /none"):
        connection.recv(timeout=10)


def test_script_says_what_to_install(machine, monkeypatch):
    monkeypatch.setitem(sys.modules, "playwright", None)
    answer = machine("POST", "playwright/execute", json={"code": "return 1"})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "pip install 'airflow-provider-kernel[emulator,playwright]'" in answer.json()["message"]


def test_screenshot_is_white(machine):
    answer = machine("POST", "computer/screenshot", json={"region": {"x": 0, "y": 0, "width": 30, "height": 20}})
    assert answer.headers["content-type"] == "image/png"
    assert answer.content.startswith(b"\x89PNG")
    assert struct.unpack(">II", answer.content[16:24]) == (30, 20)


def test_connection_with_another_token_is_a_401(address):
    with pytest.raises(InvalidStatus) as refused:
        connect(f"{address[:-1]}x")
    assert refused.value.response.status_code == 401


def test_connection_without_a_token_is_a_401(address):
    with pytest.raises(InvalidStatus) as refused:
        connect(address.partition("?")[0])
    assert refused.value.response.status_code == 401


def test_connection_to_an_ended_browser_is_a_404(kernel, client, address):
    client.delete(f"/browsers/{kernel.browsers[0].session_id}")
    with pytest.raises(InvalidStatus) as refused:
        connect(address)
    assert refused.value.response.status_code == 404
    assert b"not_found" in refused.value.response.body


class TestHandshake:
    def test_handshake_is_in_the_journal_without_its_token(self, kernel, address):
        with connect(address):
            (request,) = kernel.wait_for("GET", "/browser/*/cdp")
        kernel.wait_until(lambda: kernel.requests("GET", "/browser/*/cdp")[0].status == 101)
        assert request.query == {"jwt": "[redacted]"}

    def test_fault_refuses_a_handshake(self, kernel, address):
        kernel.add_fault(Fault("GET", "/browser/*/cdp", status=503, body="<h1>no</h1>"))
        with pytest.raises(InvalidStatus) as refused:
            connect(address)
        assert refused.value.response.status_code == 503
        assert refused.value.response.body == b"<h1>no</h1>"
        assert kernel.browsers[0].connections == 0

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_fault_drops_a_handshake(self, kernel, address, when):
        kernel.add_fault(Fault("GET", "/browser/*/cdp", drop=when))
        with pytest.raises((InvalidMessage, EOFError, ConnectionError)):
            connect(address)
        kernel.wait_until(lambda: kernel.browsers[0].clients == 0)

    def test_fault_holds_a_handshake(self, kernel, address):
        fault = kernel.add_fault(Fault("GET", "/browser/*/cdp", hold=True))
        with pytest.raises(TimeoutError):
            connect(address, open_timeout=0.05)
        fault.wait_until_held()
        fault.release()
        kernel.wait_until(lambda: kernel.browsers[0].clients == 0)

    def test_outage_fails_a_handshake(self, kernel, address):
        with kernel.outage("error"), pytest.raises(InvalidStatus) as refused:
            connect(address)
        assert refused.value.response.status_code == 500

    def test_token_is_in_no_log(self, kernel, address, caplog):
        caplog.set_level(logging.DEBUG)
        quiet = logging.Logger("client", logging.CRITICAL)
        with connect(address, logger=quiet) as connection, pytest.raises(ConnectionClosed):
            connection.recv(timeout=10)
        assert all(kernel.browsers[0].token not in record.getMessage() for record in caplog.records)
