from __future__ import annotations

import socket
import threading
import time

import httpx
import pytest

from airflow_provider_kernel.testing import Fault, KernelEmulator
from airflow_provider_kernel.testing.faults import Faults

PATCH = ("PATCH", "/invocations/*")


def end(client, invocation_id):
    return client.patch(f"/invocations/{invocation_id}", json={"status": "failed"})


def test_outage_answers_every_request_with_500_until_its_block_ends(kernel, client, invoke):
    with kernel.outage("error"):
        assert client.get("/apps").status_code == 500
        assert invoke("hang", wait=False).status_code == 500
    assert client.get("/apps").status_code == 200
    assert kernel.invocations == ()
    assert [request.status for request in kernel.journal] == [500, 500, 200]


def test_outage_refuses_connections_and_listens_on_the_same_port_again(kernel, client, running):
    invocation_id, port = running(), kernel.port
    with kernel.outage("refuse") as outage:
        assert outage.begun
        with pytest.raises(httpx.ConnectError):
            client.get("/apps")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
    assert kernel.port == port
    assert client.get(f"/invocations/{invocation_id}").json()["status"] == "running"


def test_outage_keeps_its_port_from_others_while_it_refuses(kernel):
    with kernel.outage("refuse"), socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", kernel.port))


def test_outage_hangs_and_processes_nothing(kernel, client, running):
    invocation_id = running()
    outage = kernel.outage("hang")
    with pytest.raises(httpx.ReadTimeout):
        client.patch(f"/invocations/{invocation_id}", json={"status": "failed"}, timeout=0.1)
    outage.end()
    assert kernel.invocation(invocation_id).status == "running"
    assert end(client, invocation_id).status_code == 200


def test_outage_that_hangs_closes_the_connections_at_its_end(kernel, client):
    outage = kernel.outage("hang")
    errors = []

    def ask():
        try:
            client.get("/apps")
        except httpx.TransportError as error:
            errors.append(error)

    caller = threading.Thread(target=ask)
    caller.start()
    kernel.wait_for("GET", "/apps")
    outage.end()
    caller.join()
    assert [type(error) for error in errors] == [httpx.ReadError]


@pytest.mark.parametrize("kind", ["error", "refuse", "hang"])
def test_outage_ends_by_time(kernel, client, kind):
    began = time.monotonic()
    outage = kernel.outage(kind, seconds=0.2)
    assert not outage.over
    outage.wait_until_over()
    assert time.monotonic() - began >= 0.2
    assert client.get("/apps").status_code == 200


@pytest.mark.parametrize(("kind", "error"), [("refuse", httpx.ReadError), ("hang", httpx.ReadError)])
def test_outage_begins_with_a_request_that_gets_no_answer(kernel, client, running, kind, error):
    invocation_id = running()
    outage = kernel.outage(kind, seconds=0.1, begin=PATCH)
    assert client.get("/apps").status_code == 200
    assert not outage.begun
    with pytest.raises(error):
        end(client, invocation_id)
    outage.wait_until_over()
    assert outage.begun
    assert end(client, invocation_id).status_code == 200
    assert [request.status for request in kernel.requests(*PATCH)] == [None, 200]


def test_outage_begins_with_a_request_that_it_answers_with_500(kernel, client, running):
    invocation_id = running()
    with kernel.outage("error", begin=PATCH) as outage:
        assert client.get("/apps").status_code == 200
        assert end(client, invocation_id).status_code == 500
        outage.wait_until_begun()
        assert client.get("/apps").status_code == 500
    assert kernel.invocation(invocation_id).status == "running"


def test_outage_ends_before_it_has_begun(kernel, client, running):
    with kernel.outage("refuse", begin=PATCH) as outage:
        pass
    assert outage.over
    assert not outage.begun
    assert end(client, running()).status_code == 200


@pytest.mark.parametrize("stop", [KernelEmulator.clear_faults, KernelEmulator.reset])
@pytest.mark.parametrize("kind", ["error", "refuse", "hang"])
def test_outage_is_over_after_clear_faults_and_reset(kernel, client, kind, stop):
    outage = kernel.outage(kind)
    stop(kernel)
    assert outage.over
    assert client.get("/apps").status_code == 200


def test_outage_follows_another_one(kernel, client):
    kernel.outage("refuse").end()
    with kernel.outage("error"):
        assert client.get("/apps").status_code == 500
        with pytest.raises(RuntimeError, match="not over"):
            kernel.outage("hang")


def test_emulator_stops_in_an_outage():
    with KernelEmulator() as kernel:
        kernel.outage("refuse")
    with pytest.raises(RuntimeError, match="not running"):
        kernel.outage()


def test_outage_waits_fail_after_their_time(kernel):
    with kernel.outage("error", begin=PATCH) as outage:
        with pytest.raises(AssertionError, match="begin"):
            outage.wait_until_begun(0.01)
        with pytest.raises(AssertionError, match="end"):
            outage.wait_until_over(0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "slow"}, "'error', 'refuse', 'hang'"),
        ({"seconds": 0}, "above 0"),
        ({"begin": ("PATCH", "invocations")}, "path"),
    ],
)
def test_outage_refuses_wrong_arguments(kernel, arguments, message):
    with pytest.raises(ValueError, match=message):
        kernel.outage(**arguments)


def test_fault_with_seconds_applies_to_all_requests_of_its_time():
    now = [100.0]
    faults = Faults(clock=lambda: now[0])
    fault = faults.add(Fault("GET", "/apps", (2,), seconds=20, status=500))

    def applies():
        return faults.pick("GET", "/apps") is fault

    assert not applies()
    assert faults.pick("POST", "/apps") is None
    now[0] = 150.0
    assert [applies(), applies()] == [True, True]
    now[0] = 169.9
    assert applies()
    now[0] = 170.0
    assert not applies()


def test_fault_without_nth_lasts_its_seconds_only():
    now = [0.0]
    faults = Faults(clock=lambda: now[0])
    faults.add(Fault("GET", "/apps", None, seconds=5, status=500))
    assert faults.pick("GET", "/apps")
    now[0] = 5.0
    assert faults.pick("GET", "/apps") is None


def test_fault_seconds_must_be_above_0():
    with pytest.raises(ValueError, match="seconds"):
        Fault("GET", "/apps", seconds=0)
