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
    def test_stop_is_quick_with_hanging_actions_open_streams_and_held_answers(self, caplog):
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

    def test_stop_logs_nothing(self, caplog, running, kernel):
        running()
        stream = httpx.stream(
            "GET",
            f"{kernel.base_url}/invocations/{kernel.invocations[0].id}/events",
            headers={"Authorization": f"Bearer {kernel.api_key}"},
        )
        with caplog.at_level(logging.WARNING), stream:
            kernel.stop()
        assert caplog.records == []

    def test_stopped_emulator_refuses_connections(self):
        with KernelEmulator() as kernel:
            assert get(kernel).status_code == 200
        with pytest.raises(httpx.ConnectError):
            get(kernel)

    def test_stop_may_be_called_twice(self):
        kernel = KernelEmulator().start()
        kernel.stop()
        kernel.stop()

    def test_forked_child_is_a_client_and_cannot_stop_the_emulator(self, kernel):
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

    def test_dropped_connection_closes_although_a_forked_child_holds_the_socket(self, kernel, client):
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
    def test_start_on_a_port_in_use_fails(self, kernel):
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{kernel.port}.*port 0"):
            KernelEmulator(port=kernel.port).start()

    def test_start_twice_fails(self, kernel):
        with pytest.raises(RuntimeError, match="running already"):
            kernel.start()

    def test_emulator_has_no_url_before_start(self):
        with pytest.raises(RuntimeError, match="start"):
            _ = KernelEmulator().base_url

    def test_restart_keeps_the_port(self):
        kernel = KernelEmulator().start()
        url = kernel.base_url
        kernel.stop()
        with kernel:
            assert kernel.base_url == url
            assert get(kernel).status_code == 200

    def test_start_leaves_signals_and_logging_unchanged(self):
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

    def test_emulator_writes_no_access_log(self, caplog, kernel):
        with caplog.at_level(logging.DEBUG):
            get(kernel)
        assert "uvicorn.access" not in {record.name for record in caplog.records}


def test_outage_refuses_connections_while_invocations_continue(kernel, running):
    invocation_id = running()
    with kernel.outage(), pytest.raises(httpx.ConnectError):
        get(kernel)
    assert get(kernel, f"/invocations/{invocation_id}").json()["status"] == "running"


def test_reset_deletes_the_past_and_keeps_the_setup(kernel, client, invoke, running):
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

    def test_consecutive_invocations_are_not_active_at_once(self, kernel, invoke):
        for number in range(3):
            invoke("echo", number)
        assert kernel.most_active_at_once() == 1

    def test_finish_ends_an_invocation(self, kernel, client, running):
        invocation_id = running()
        record = kernel.finish(invocation_id, output={"a": 1})
        assert (record.status, record.output_json) == ("succeeded", {"a": 1})
        assert client.get(f"/invocations/{invocation_id}").json()["output"] == '{"a": 1}'
        with pytest.raises(ValueError, match="has ended already: succeeded"):
            kernel.finish(invocation_id)

    def test_wait_for_status_fails_on_a_timeout_and_on_another_end(self, kernel, running):
        invocation_id = running()
        with pytest.raises(AssertionError, match=r"waited 0.01 s .* to be succeeded"):
            kernel.wait_for_status(invocation_id, "succeeded", timeout=0.01)
        kernel.finish(invocation_id, "failed")
        with pytest.raises(AssertionError, match="succeeded"):
            kernel.wait_for_status(invocation_id, "succeeded", timeout=60)
        assert kernel.wait_for_status(invocation_id, "running").status == "failed"
        with pytest.raises(ValueError, match="cancelled"):
            kernel.wait_for_status(invocation_id, "cancelled")

    def test_unknown_invocation_error_names_the_known_ones(self, kernel, running):
        known = running()
        with pytest.raises(KeyError, match=f"nosuch.*{known}"):
            kernel.invocation("nosuch")


def test_run_emulator_prints_how_to_connect_and_serves():
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
