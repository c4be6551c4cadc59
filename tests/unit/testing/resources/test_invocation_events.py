from __future__ import annotations

import logging
import threading

import httpx
import pytest

from airflow_provider_kernel.testing import KernelEmulator


def kinds(events):
    return [
        event["message"] if event["event"] == "log" else event["invocation"]["status"]
        for event in events
        if event["event"] != "sse_heartbeat"
    ]


@pytest.fixture
def written(kernel, running):
    """A run that has written three lines and then waits for the test."""
    reached, go = threading.Event(), threading.Event()

    @kernel.action("own", "writer")
    def writer(ctx):
        for number in (1, 2, 3):
            ctx.log(f"old {number}\n")
        reached.set()
        go.wait(5)
        ctx.log("new")
        return "done"

    invocation_id = running("writer", app="own")
    assert reached.wait(5)
    return invocation_id, go


def test_stream_sends_state_then_new_lines_then_the_final_state(follow, written):
    invocation_id, go = written
    events = follow(invocation_id)
    first = next(events)
    go.set()
    rest = list(events)
    assert kinds([first, *rest]) == ["running", "new", "succeeded"]
    assert first["event"] == "invocation_state"
    assert rest[-1]["invocation"]["output"] == '"done"'
    assert rest[-1]["timestamp"] == rest[-1]["invocation"]["finished_at"]


def test_stream_with_since_replays_log_lines(follow, written):
    invocation_id, go = written
    events = follow(invocation_id, since="5m")
    first = next(events)
    go.set()
    assert kinds([first, *events]) == ["running", "old 1\n", "old 2\n", "old 3\n", "new", "succeeded"]


@pytest.mark.parametrize(("inclusive", "lines"), [(True, ["old 2\n", "old 3\n"]), (False, ["old 3\n"])])
def test_stream_since_a_time_replays_from_that_time(kernel, follow, written, inclusive, lines):
    kernel.switches.since_inclusive = inclusive
    invocation_id, go = written
    go.set()
    kernel.wait_for_status(invocation_id, "succeeded")
    logs = [event for event in follow(invocation_id, since="1h") if event["event"] == "log"]
    assert kinds(follow(invocation_id, since=logs[1]["timestamp"])) == [*lines, "new", "succeeded"]


@pytest.mark.parametrize(("setting", "lines"), [("live", []), ("all", ["old 1\n", "old 2\n", "old 3\n", "new"])])
def test_stream_without_since_replays_as_the_switch_says(kernel, follow, written, setting, lines):
    kernel.switches.logs_without_since = setting
    invocation_id, go = written
    go.set()
    kernel.wait_for_status(invocation_id, "succeeded")
    assert kinds(follow(invocation_id)) == [*lines, "succeeded"]


def test_patch_ends_the_stream_with_the_reason(kernel, client, follow, running):
    invocation_id = running()
    events = follow(invocation_id)
    next(events)
    httpx.patch(
        f"{kernel.base_url}/invocations/{invocation_id}",
        json={"status": "failed"},
        headers={"Authorization": f"Bearer {kernel.api_key}"},
    )
    last = list(events)[-1]
    assert last["invocation"]["status"] == "failed"
    assert last["invocation"]["status_reason"]


def test_silent_stream_sends_heartbeats(kernel, follow, running):
    kernel.switches.heartbeat_seconds = 0.01
    invocation_id = running()
    events = follow(invocation_id)
    assert [next(events)["event"] for _ in range(3)] == ["invocation_state", "sse_heartbeat", "sse_heartbeat"]
    kernel.finish(invocation_id)
    assert kinds(events) == ["succeeded"]


def test_stream_sends_heartbeats_while_another_invocation_is_busy(kernel, follow, running):
    @kernel.action("own", "chatter")
    def chatter(ctx):
        while not ctx.wait(0.005):
            ctx.log("more")

    kernel.switches.heartbeat_seconds = 0.1
    invocation_id = running()
    running("chatter", app="own")
    events = follow(invocation_id)
    assert [next(events)["event"] for _ in range(3)] == ["invocation_state", "sse_heartbeat", "sse_heartbeat"]


def test_log_line_is_truncated_at_64_kib(kernel, invoke, follow):
    kernel.register("own", "long", lambda ctx: ctx.log("ü" * 65_536))
    invocation_id = invoke("long", app="own").json()["id"]
    (line, _) = kinds(follow(invocation_id, since="1m"))
    assert line == "ü" * 32_768


def test_log_timestamps_are_unique(kernel, invoke, follow):
    invocation_id = invoke("logs", {"lines": 50, "message": "m"}).json()["id"]
    logs = [event for event in follow(invocation_id, since="1m") if event["event"] == "log"]
    assert [event["message"] for event in logs] == [f"m {number}" for number in range(1, 51)]
    assert len({event["timestamp"] for event in logs}) == 50


def test_client_that_disconnects_leaves_the_invocation_running(kernel, client, follow, running):
    invocation_id = running()
    events = follow(invocation_id)
    next(events)
    events.close()
    assert client.get(f"/invocations/{invocation_id}").json()["status"] == "running"


def test_stopping_the_emulator_under_a_busy_stream_logs_nothing(caplog):
    kernel = KernelEmulator().start()
    pouring = threading.Event()

    @kernel.action("own", "pours")
    def pours(ctx):
        while not ctx.cancelled:
            ctx.log("x")
            pouring.set()

    headers = {"Authorization": f"Bearer {kernel.api_key}"}
    body = {"app_name": "own", "version": "latest", "action_name": "pours", "async": True}
    invocation_id = httpx.post(f"{kernel.base_url}/invocations", json=body, headers=headers).json()["id"]
    url = f"{kernel.base_url}/invocations/{invocation_id}/events"
    with httpx.stream("GET", url, headers=headers) as answer:
        lines = answer.iter_lines()
        assert pouring.wait(5)
        next(lines)
        with kernel.outage():  # the action goes on meanwhile
            pass
        kernel.stop()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(("path", "status"), [("nosuch", 404), ("{id}?since=never", 400)])
def test_refused_stream_is_an_error_answer(client, running, path, status):
    path, _, query = path.format(id=running()).partition("?")
    answer = client.get(f"/invocations/{path}/events?{query}")
    assert answer.status_code == status
    assert answer.json()["code"]
