from __future__ import annotations

import threading

import httpx
import pytest

from airflow_provider_kernel.testing import Fault


def test_journal_records_requests_in_order(kernel, client, invoke):
    invoke("echo", {"a": 1}, wait=False)
    client.get("/invocations", params={"limit": "5", "query": "a b"})
    client.get("/invocations/x%20y")
    post, listed, missing = kernel.journal
    assert [r.number for r in kernel.journal] == [1, 2, 3]
    assert (post.method, post.path, post.status) == ("POST", "/invocations", 202)
    assert post.json["payload"] == '{"a": 1}'
    assert listed.query == {"limit": "5", "query": "a b"}
    assert listed.json is None
    assert (missing.path, missing.status) == ("/invocations/x y", 404)
    assert post.received_at < listed.received_at


@pytest.mark.parametrize(("sent", "kept"), [("Bearer sk-emulator", "Bearer"), ("sk-emulator", "[redacted]")])
def test_journal_has_lower_case_headers_and_no_key(kernel, client, sent, kept):
    client.get("/apps", headers={"X-Kernel-Project": "default", "Authorization": sent})
    (request,) = kernel.journal
    assert request.headers["x-kernel-project"] == "default"
    assert request.headers["authorization"] == kept
    assert "sk-emulator" not in f"{request!r} {request} {dict(request.headers)}"


def test_journal_is_filtered_by_method_and_path(kernel, client):
    client.get("/apps")
    client.get("/invocations/a")
    client.get("/invocations/a/browsers")
    assert [r.path for r in kernel.requests("GET", "/invocations/*")] == ["/invocations/a"]
    assert len(kernel.requests(path="/invocations/**")) == 2
    assert kernel.requests("POST") == ()


def test_wait_for_returns_when_enough_requests_were_received(kernel):
    def later():
        for _ in range(2):
            httpx.get(f"{kernel.base_url}/apps")

    thread = threading.Thread(target=later)
    thread.start()
    assert len(kernel.wait_for("GET", "/apps", count=2)) == 2
    thread.join(5)


def test_wait_for_shows_the_journal_after_its_timeout(kernel, client):
    client.get("/apps", params={"limit": "3"})
    with pytest.raises(AssertionError, match=r"2 x GET /apps, received 1[\s\S]*#1 GET /apps\?limit=3 -> 200"):
        kernel.wait_for("GET", "/apps", count=2, timeout=0.01)


def test_answer_after_a_reset_is_not_recorded_on_a_new_request(kernel, invoke):
    fault = Fault("POST", "/invocations", hold=True)
    kernel.add_fault(fault)
    thread = threading.Thread(target=invoke, args=("hang",), kwargs={"wait": False})
    thread.start()
    fault.wait_until_held()
    kernel._journal.clear()
    with httpx.Client(base_url=kernel.base_url) as other:
        for path in ("/apps", "/apps", "/apps"):
            other.get(path)
        fault.release()
        thread.join(5)
    assert [(r.path, r.status) for r in kernel.journal] == [("/apps", 401)] * 3
