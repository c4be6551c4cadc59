from __future__ import annotations

import io
import json
import logging
import os
import signal
import threading
import time

import httpx
import pytest

from airflow_provider_kernel.testing import Fault, KernelEmulator, run_emulator


def get(emulator, path="/apps"):
    return httpx.get(emulator.base_url + path, headers={"Authorization": f"Bearer {emulator.api_key}"})


class TestStop:
    def test_soon_while_actions_hang_streams_are_open_and_answers_are_held(self, caplog):
        with KernelEmulator() as kernel:
            kernel.register("own", "deaf", lambda ctx: threading.Event().wait())
            headers = {"Authorization": f"Bearer {kernel.api_key}"}
            client = httpx.Client(base_url=kernel.base_url, headers=headers)
            body = {"app_name": "demo", "version": "latest", "action_name": "hang", "async": True}
            invocation_id = client.post("/invocations", json=body).json()["id"]
            client.post("/invocations", json={**body, "app_name": "own", "action_name": "deaf"})
            fault = kernel.add_fault(Fault("GET", "/apps", hold=True))
            outcomes: list[BaseException] = []

            def expect_cut():
                try:
                    httpx.get(f"{kernel.base_url}/apps", headers=headers, timeout=60)
                except httpx.TransportError as error:
                    outcomes.append(error)

            held = threading.Thread(target=expect_cut)
            held.start()
            fault.wait_until_held()
            kernel.wait_for_invocations(2)
            stream = client.stream("GET", f"/invocations/{invocation_id}/events", timeout=60)
            lines = stream.__enter__().iter_lines()
            next(lines)
            begun = time.monotonic()
        assert time.monotonic() - begun < 1.5
        held.join(5)
        assert len(outcomes) == 1
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
        with pytest.raises(httpx.TransportError):
            list(lines)
        assert kernel.invocation(invocation_id).status == "running", "nobody ended it"

    def test_quietly(self, caplog, running, kernel):
        running()
        stream = httpx.stream(
            "GET",
            f"{kernel.base_url}/invocations/{kernel.invocations[0].id}/events",
            headers={"Authorization": f"Bearer {kernel.api_key}"},
        )
        with caplog.at_level(logging.WARNING), stream:
            kernel.stop()
        assert caplog.records == []

    def test_connections_are_refused_after(self):
        with KernelEmulator() as kernel:
            assert get(kernel).status_code == 200
        with pytest.raises(httpx.ConnectError):
            get(kernel)

    def test_twice_does_no_harm(self):
        kernel = KernelEmulator().start()
        kernel.stop()
        kernel.stop()

    def test_a_forked_child_is_a_client_and_cannot_stop_it(self, kernel):
        held, forked = threading.Event(), threading.Event()

        def hold_the_lock():
            with kernel._backend.signal:
                held.set()
                forked.wait(5)

        threading.Thread(target=hold_the_lock).start()
        held.wait(5)
        child = os.fork()
        if child == 0:
            signal.alarm(3)  # the lock is held for ever here, and stop() must not want it
            try:
                kernel.stop()
                os._exit(0 if get(kernel).status_code == 200 else 1)
            finally:
                os._exit(2)
        forked.set()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert get(kernel).status_code == 200

    def test_a_drop_is_seen_although_a_forked_child_holds_the_socket(self, kernel, client):
        client.get("/apps")
        child = os.fork()
        if child == 0:
            signal.pause()
        try:
            kernel.add_fault(Fault("GET", "/apps", drop="before"))
            with pytest.raises(httpx.RemoteProtocolError):
                client.get("/apps")
            kernel.stop()
            with pytest.raises(httpx.ConnectError):
                get(kernel)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


class TestStart:
    def test_a_port_that_is_taken(self, kernel):
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{kernel.port}.*port 0"):
            KernelEmulator(port=kernel.port).start()

    def test_twice_is_refused(self, kernel):
        with pytest.raises(RuntimeError, match="running already"):
            kernel.start()

    def test_no_url_before(self):
        with pytest.raises(RuntimeError, match="start"):
            _ = KernelEmulator().base_url

    def test_again_on_the_same_port(self):
        kernel = KernelEmulator().start()
        url = kernel.base_url
        kernel.stop()
        with kernel:
            assert kernel.base_url == url
            assert get(kernel).status_code == 200

    def test_leaves_signals_and_logging_alone(self):
        handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
        access = logging.getLogger("uvicorn.access")
        handler = logging.NullHandler()
        access.addHandler(handler)
        before = list(access.handlers), access.propagate
        levels = [logging.getLogger(name).level for name in ("uvicorn.access", "uvicorn.error", "asyncio")]
        try:
            with KernelEmulator():
                assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers
                assert (access.handlers, access.propagate) == before
                names = ("uvicorn.access", "uvicorn.error", "asyncio")
                assert [logging.getLogger(name).level for name in names] == levels
        finally:
            access.removeHandler(handler)

    def test_no_access_log(self, caplog, kernel):
        with caplog.at_level(logging.DEBUG):
            get(kernel)
        assert "uvicorn.access" not in {record.name for record in caplog.records}


def test_an_outage_refuses_connections_and_runs_go_on(kernel, running):
    invocation_id = running()
    with kernel.outage(), pytest.raises(httpx.ConnectError):
        get(kernel)
    assert get(kernel, f"/invocations/{invocation_id}").json()["status"] == "running"


def test_reset_forgets_what_happened_and_keeps_what_was_set_up(kernel, client, invoke, running):
    stopped = threading.Event()
    kernel.register("own", "work", lambda ctx: stopped.set() if ctx.wait() else None)
    running("work", app="own")
    kernel.add_fault(Fault("GET", "/apps", None, status=500))
    kernel.reset()
    assert stopped.wait(5)
    assert (kernel.invocations, kernel.journal) == ((), ())
    assert client.get("/apps").status_code == 200
    assert invoke("work", app="own", wait=False).status_code == 202


class TestRecords:
    def test_most_active_at_once(self, kernel, invoke, running):
        kernel.register("own", "work", lambda ctx: ctx.wait())
        first = running()
        running()
        kernel.finish(first)
        running("work", app="own")
        invoke("echo", 1)
        assert kernel.most_active_at_once() == 3
        assert kernel.most_active_at_once("demo") == 2
        assert kernel.most_active_at_once(action_name="echo") == 1
        assert kernel.most_active_at_once("nosuch") == 0

    def test_one_that_starts_when_the_other_has_ended_is_not_at_once(self, kernel, invoke):
        for number in range(3):
            invoke("echo", number)
        assert kernel.most_active_at_once() == 1

    def test_finish_by_hand(self, kernel, client, running):
        invocation_id = running()
        record = kernel.finish(invocation_id, output={"a": 1})
        assert (record.status, record.output_json) == ("succeeded", {"a": 1})
        assert client.get(f"/invocations/{invocation_id}").json()["output"] == '{"a": 1}'
        with pytest.raises(ValueError, match="has ended already: succeeded"):
            kernel.finish(invocation_id)

    def test_waiting_for_a_status_it_will_not_have(self, kernel, running):
        invocation_id = running()
        with pytest.raises(AssertionError, match=r"waited 0.01 s .* to be succeeded"):
            kernel.wait_for_status(invocation_id, "succeeded", timeout=0.01)
        kernel.finish(invocation_id, "failed")
        with pytest.raises(AssertionError, match="succeeded"):
            kernel.wait_for_status(invocation_id, "succeeded", timeout=60)
        assert kernel.wait_for_status(invocation_id, "running").status == "failed"
        with pytest.raises(ValueError, match="cancelled"):
            kernel.wait_for_status(invocation_id, "cancelled")

    def test_an_unknown_invocation(self, kernel, running):
        known = running()
        with pytest.raises(KeyError, match=f"nosuch.*{known}"):
            kernel.invocation("nosuch")


def test_run_emulator_says_how_to_connect_and_serves():
    until, served = threading.Event(), threading.Event()

    class Stream(io.StringIO):
        def flush(self):
            served.set()

    stream = Stream()
    arguments = {"api_key": "sk-mine", "stream": stream, "until": until}
    thread = threading.Thread(target=run_emulator, args=(0,), kwargs=arguments)
    thread.start()
    assert served.wait(5)
    lines = stream.getvalue().splitlines()
    (export,) = [line for line in lines if line.startswith("export AIRFLOW_CONN_KERNEL_DEFAULT=")]
    connection = json.loads(export.partition("=")[2].strip("'"))
    assert (connection["conn_type"], connection["password"]) == ("kernel", "sk-mine")
    assert connection["host"] in lines[0]
    answer = httpx.get(f"{connection['host']}/apps", headers={"Authorization": "Bearer sk-mine"})
    assert answer.status_code == 200
    until.set()
    thread.join(5)
    assert not thread.is_alive()
