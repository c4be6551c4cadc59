from __future__ import annotations

import pytest

from airflow_provider_kernel.testing.resources.browsers import Browsers
from airflow_provider_kernel.testing.resources.limits import Limits


class TestLimit:
    def test_browser_above_the_limit_is_a_429(self, kernel, client, create):
        kernel.room(Limits).max_concurrent_sessions = 1
        session = create()["session_id"]
        answer = client.post("/browsers", json={})
        assert (answer.status_code, answer.json()["code"]) == (429, "concurrency_limit_exceeded")
        assert answer.headers["retry-after"] == "1"
        client.delete(f"/browsers/{session}")
        create()
        assert kernel.room(Browsers).most_active_at_once() == 1

    def test_limits_count_the_active_browsers(self, kernel, client, create):
        session = create()["session_id"]
        create()
        limits = client.get("/org/limits").json()
        assert (limits["concurrent_sessions_used"], limits["concurrent_sessions_available"]) == (2, 3)
        client.delete(f"/browsers/{session}")
        assert client.get("/org/limits").json()["concurrent_sessions_used"] == 1

    def test_limits_count_sessions_that_the_emulator_does_not_have(self, kernel, client, create):
        kernel.room(Limits).concurrent_sessions_used = 4
        create()
        assert client.get("/org/limits").json()["concurrent_sessions_used"] == 5
        assert client.post("/browsers", json={}).status_code == 429

    def test_platform_may_be_out_of_capacity(self, kernel, client):
        kernel.switches.capacity_exhausted = True
        answer = client.post("/browsers", json={})
        assert (answer.status_code, answer.json()["code"]) == (529, "capacity_exhausted")


class TestInvocation:
    @pytest.fixture
    def tied(self, running, create):
        invocation = running("hang")
        return invocation, create(invocation_id=invocation)["session_id"]

    def test_browser_of_an_invocation_is_in_its_list(self, client, tied):
        invocation, session = tied
        listed = client.get(f"/invocations/{invocation}/browsers").json()["browsers"]
        assert [browser["session_id"] for browser in listed] == [session]

    def test_end_of_an_invocation_ends_its_browsers(self, kernel, client, tied):
        client.patch(f"/invocations/{tied[0]}", json={"status": "failed"})
        kernel.wait_until(lambda: kernel.browsers[0].end_cause == "invocation")
        assert client.get(f"/browsers/{tied[1]}").status_code == 404

    def test_invocation_deletes_its_browsers(self, client, tied):
        assert client.delete(f"/invocations/{tied[0]}/browsers").status_code == 204
        assert client.get(f"/browsers/{tied[1]}").status_code == 404

    def test_deleted_browser_leaves_the_list_of_its_invocation(self, client, tied):
        client.delete(f"/browsers/{tied[1]}")
        assert client.get(f"/invocations/{tied[0]}/browsers").json() == {"browsers": []}

    def test_invocation_that_has_ended_takes_no_browser(self, client, invoke):
        ended = invoke("echo").json()["id"]
        assert client.post("/browsers", json={"invocation_id": ended}).status_code == 400
