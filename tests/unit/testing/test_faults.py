from __future__ import annotations

import json
import threading
import time
from typing import ClassVar

import httpx
import pytest

from airflow_provider_kernel.testing import Fault


class TestWhich:
    def statuses(self, client, count=4):
        return [client.get("/apps").status_code for _ in range(count)]

    @pytest.mark.parametrize(
        ("nth", "statuses"),
        [
            ((1,), [503, 200, 200, 200]),
            (2, [200, 503, 200, 200]),
            ((1, 3), [503, 200, 503, 200]),
            (range(1, 4), [503, 503, 503, 200]),
            (None, [503, 503, 503, 503]),
        ],
    )
    def test_fault_applies_to_the_nth_request(self, kernel, client, nth, statuses):
        kernel.add_fault(Fault("GET", "/apps", nth, status=503))
        assert self.statuses(client) == statuses

    @pytest.mark.parametrize(
        ("method", "path", "hit"),
        [
            ("*", "/apps", True),
            ("get", "/apps", True),
            ("POST", "/apps", False),
            ("GET", "*", True),
            ("GET", "/a*", True),
            ("GET", "/app", False),
            ("GET", "/invocations/*", False),
        ],
    )
    def test_fault_matches_method_and_path(self, kernel, client, method, path, hit):
        kernel.add_fault(Fault(method, path, status=503))
        assert client.get("/apps").status_code == (503 if hit else 200)

    def test_fault_path_star_matches_within_one_segment(self, kernel, client, running):
        invocation_id = running()
        kernel.add_fault(Fault("GET", "/invocations/*", None, status=503))
        assert client.get(f"/invocations/{invocation_id}/browsers").status_code == 200
        assert client.get(f"/invocations/{invocation_id}").status_code == 503
        kernel.clear_faults()
        kernel.add_fault(Fault("GET", "/invocations/**", None, status=503))
        assert client.get(f"/invocations/{invocation_id}/browsers").status_code == 503

    def test_first_fault_that_applies_wins_and_all_count(self, kernel, client):
        kernel.add_fault(Fault("GET", "/apps", (2,), status=500))
        kernel.add_fault(Fault("GET", "/apps", range(1, 4), status=503))
        assert self.statuses(client) == [503, 500, 503, 200]

    def test_cleared_faults_do_not_apply(self, kernel, client):
        kernel.add_fault(Fault("GET", "/apps", None, status=503))
        kernel.clear_faults()
        assert client.get("/apps").status_code == 200


class TestAnswers:
    def test_fault_status_is_sent_without_processing(self, kernel, invoke):
        kernel.add_fault(Fault("POST", "/invocations", status=429, headers={"Retry-After": "90"}))
        answer = invoke("echo", 1)
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "90")
        assert set(answer.json()) == {"code", "message"}
        assert kernel.invocations == ()

    def test_fault_status_is_sent_after_processing(self, kernel, invoke):
        kernel.add_fault(Fault("POST", "/invocations", status=500, processed=True))
        assert invoke("hang", wait=False).status_code == 500
        assert len(kernel.invocations) == 1

    @pytest.mark.parametrize(
        ("body", "content", "media_type"),
        [
            ("<html>busy</html>", b"<html>busy</html>", "text/html; charset=utf-8"),
            ("not { JSON", b"not { JSON", "text/plain; charset=utf-8"),
            ({"a": None}, b'{"a": null}', "application/json"),
            (b"\xff\x00", b"\xff\x00", None),
            (b"", b"", None),
        ],
    )
    def test_fault_sends_bodies_of_all_types(self, kernel, client, body, content, media_type):
        kernel.add_fault(Fault("GET", "/apps", body=body))
        answer = client.get("/apps")
        assert (answer.status_code, answer.content) == (200, content)
        assert answer.headers.get("content-type") == media_type

    @pytest.mark.parametrize("status", [204, 529])
    def test_fault_sends_unusual_statuses(self, kernel, client, status):
        kernel.add_fault(Fault("GET", "/apps", status=status))
        assert client.get("/apps").status_code == status

    def test_fault_headers_alone_are_added_to_the_real_answer(self, kernel, client):
        kernel.add_fault(Fault("GET", "/apps", headers={"X-Extra": "1"}))
        answer = client.get("/apps")
        assert answer.headers["X-Extra"] == "1"
        assert answer.json()

    def test_fault_truncates_the_real_body(self, kernel, client):
        kernel.add_fault(Fault("GET", "/apps", truncate=True))
        with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
            client.get("/apps")
        assert client.get("/apps").json()

    def test_fault_truncates_its_own_body(self, kernel, client):
        kernel.add_fault(Fault("GET", "/apps", status=502, body="x" * 100, truncate=True))
        with pytest.raises(httpx.RemoteProtocolError, match="received 50 bytes, expected 100"):
            client.get("/apps")


class TestDrops:
    @pytest.mark.parametrize(("reset", "error"), [(False, httpx.RemoteProtocolError), (True, httpx.ReadError)])
    @pytest.mark.parametrize(("drop", "made"), [("before", 0), ("after", 1)])
    def test_dropped_request_has_no_answer(self, kernel, client, invoke, drop, made, reset, error):
        kernel.add_fault(Fault("POST", "/invocations", drop=drop, reset=reset))
        with pytest.raises(error):
            invoke("hang", wait=False)
        assert len(kernel.invocations) == made
        assert [request.status for request in kernel.journal] == [None]

    def test_patch_with_a_lost_answer_has_its_effect(self, kernel, client, running):
        invocation_id = running()
        kernel.add_fault(Fault("PATCH", "/invocations/*", drop="after"))
        with pytest.raises(httpx.RemoteProtocolError):
            client.patch(f"/invocations/{invocation_id}", json={"status": "failed"})
        assert kernel.invocation(invocation_id).status == "failed"

    def test_drop_leaves_other_connections_open(self, kernel, follow, running):
        invocation_id = running()
        events = follow(invocation_id)
        next(events)
        kernel.add_fault(Fault("GET", "/apps", drop="before"))
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"{kernel.base_url}/apps")
        kernel.finish(invocation_id)
        assert next(events)["invocation"]["status"] == "succeeded"


class TestTiming:
    body: ClassVar = {"app_name": "demo", "version": "latest", "action_name": "hang", "async": True}

    def test_delay_is_before_processing(self, kernel, client):
        kernel.add_fault(Fault("POST", "/invocations", delay=5))
        with pytest.raises(httpx.ReadTimeout):
            client.post("/invocations", json=self.body, timeout=0.05)
        kernel.wait_for("POST", "/invocations")
        assert kernel.invocations == ()

    def test_delay_answer_is_after_processing(self, kernel, client):
        kernel.add_fault(Fault("POST", "/invocations", delay_answer=5))
        with pytest.raises(httpx.ReadTimeout):
            client.post("/invocations", json=self.body, timeout=0.2)
        kernel.wait_for_invocations(1)

    def test_delayed_request_is_answered(self, kernel, client):
        kernel.add_fault(Fault("GET", "/apps", delay=0.02, delay_answer=0.02))
        begun = time.monotonic()
        assert client.get("/apps").status_code == 200
        assert time.monotonic() - begun >= 0.04

    def test_held_answer_is_sent_on_release(self, kernel, invoke):
        fault = kernel.add_fault(Fault("POST", "/invocations", hold=True))
        answers = []
        thread = threading.Thread(target=lambda: answers.append(invoke("hang", wait=False)))
        thread.start()
        fault.wait_until_held()
        assert len(kernel.invocations) == 1, "it is processed"
        assert answers == []
        fault.release()
        thread.join(5)
        assert answers[0].status_code == 202

    def test_held_answer_may_be_dropped(self, kernel, invoke):
        fault = kernel.add_fault(Fault("POST", "/invocations", hold=True, drop="after"))
        threading.Timer(0, lambda: (fault.wait_until_held(), fault.release())).start()
        with pytest.raises(httpx.RemoteProtocolError):
            invoke("hang", wait=False)

    def test_clearing_faults_releases_held_answers(self, kernel, client):
        fault = kernel.add_fault(Fault("GET", "/apps", hold=True))
        threading.Timer(0, lambda: (fault.wait_until_held(), kernel.clear_faults())).start()
        assert client.get("/apps").status_code == 200

    def test_wait_until_held_fails_after_its_timeout(self, kernel):
        fault = kernel.add_fault(Fault("GET", "/apps", hold=True))
        with pytest.raises(AssertionError, match=r"waited 0\.01 s for 1 held"):
            fault.wait_until_held(timeout=0.01)


class TestStreams:
    @pytest.fixture
    def finished(self, invoke):
        return invoke("logs", {"lines": 5, "message": "m"}).json()["id"]

    def test_stream_is_dropped_after_n_events(self, kernel, follow, finished):
        kernel.add_fault(Fault("GET", "/invocations/*/events", cut_after=2))
        events = follow(finished, since="1m")
        assert [next(events)["message"], next(events)["message"]] == ["m 1", "m 2"]
        with pytest.raises(httpx.RemoteProtocolError):
            next(events)
        assert len(list(follow(finished, since="1m"))) == 6

    def test_stream_is_ended_early_as_if_complete(self, kernel, follow, finished):
        kernel.add_fault(Fault("GET", "/invocations/*/events", cut_after=2, cut="end"))
        assert [event["message"] for event in follow(finished, since="1m")] == ["m 1", "m 2"]

    @pytest.mark.parametrize("cut", ["drop", "end"])
    def test_stream_is_cut_before_its_first_event(self, kernel, follow, running, cut):
        kernel.add_fault(Fault("GET", "/invocations/*/events", cut_after=0, cut=cut))
        events = follow(running())
        if cut == "drop":
            with pytest.raises(httpx.RemoteProtocolError):
                next(events)
        else:
            assert list(events) == []

    def test_fault_sends_an_error_event(self, kernel, follow, finished):
        event = {"event": "error", "error": {"code": "x", "message": "y"}, "timestamp": "t"}
        kernel.add_fault(
            Fault(
                "GET",
                "/invocations/*/events",
                body=f"data: {json.dumps(event)}\n\n: a comment\n\n",
                headers={"Content-Type": "text/event-stream", "X-SSE-Content-Type": "application/json"},
            )
        )
        assert list(follow(finished)) == [event]


class TestMisuse:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"path": "invocations"}, "must begin with /"),
            ({"drop": "during"}, "'before', 'after'"),
            ({"cut": "x"}, "'drop', 'end'"),
            ({"status": 700}, "from 200 to 599"),
            ({"delay": -1}, "negative"),
            ({"cut_after": -1}, "0 or more"),
            ({"drop": "before", "status": 500}, "add two faults"),
            ({"drop": "before", "hold": True}, 'drop="after"'),
            ({"processed": True}, "status"),
        ],
    )
    def test_fault_refuses_arguments_that_exclude_each_other(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            Fault(**{"method": "GET", "path": "/apps", **arguments})

    def test_fault_refuses_nth_of_a_wrong_type(self):
        with pytest.raises(TypeError, match=r"nth is 1\.5"):
            Fault("GET", "/apps", 1.5)

    def test_fault_cannot_be_added_twice(self, kernel):
        fault = kernel.add_fault(Fault("GET", "/apps", status=500))
        with pytest.raises(ValueError, match="added already"):
            kernel.add_fault(fault)
