"""Each method of the hook sends its own request, with all its arguments."""

from __future__ import annotations

import functools
import json
import math

import pytest
import structlog
from support.hook_keys import KEY

from airflow_provider_kernel.client.errors import (
    KernelAmbiguousStartError,
    KernelServerError,
)
from airflow_provider_kernel.client.resources.invocations import requests
from airflow_provider_kernel.client.resources.invocations.errors import (
    KernelInvocationFinishedError,
)
from airflow_provider_kernel.client.retry import RetryPolicy
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.testing import Fault


def test_hook_invoke_sends_all_its_arguments(kernel, hook):
    kernel.register("shop", "buy", lambda ctx, payload: payload, "v2")
    started = hook.invoke("shop", "buy", {"ä": 1}, version="v2", async_timeout_seconds=60)
    assert started.action_name == "buy"
    (request,) = kernel.requests("POST", "/invocations")
    assert json.loads(request.body) == {
        "app_name": "shop",
        "action_name": "buy",
        "version": "v2",
        "async": True,
        "payload": '{"ä": 1}',
        "async_timeout_seconds": 60,
    }


def test_hook_invoke_does_not_resend_after_a_lost_answer(kernel, hook):
    kernel.add_fault(Fault("POST", "/invocations", drop="after"))
    with pytest.raises(KernelAmbiguousStartError):
        hook.invoke("demo", "hang")
    assert len(kernel.requests("POST", "/invocations")) == 1
    assert len(kernel.invocations) == 1


def test_hook_get_invocation(kernel, hook):
    started = hook.invoke("demo", "hang")
    fetched = hook.get_invocation(started.id)
    assert (fetched.id, fetched.app_name) == (started.id, "demo")


def test_hook_list_invocations_fetches_pages_lazily(kernel, hook):
    row = {"id": "a", "status": "failed"}
    kernel.add_fault(
        Fault("GET", "/invocations", status=200, body=[row], headers={"X-Has-More": "true", "X-Next-Offset": "1"})
    )
    kernel.add_fault(Fault("GET", "/invocations", (2,), status=200, body=[{**row, "id": "b"}]))
    rows = hook.list_invocations(
        app_name="shop",
        version="v2",
        action_name="buy",
        deployment_id="d1",
        status="failed",
        since="5m",
        query="q",
    )
    assert kernel.journal == ()
    assert next(rows).id == "a"
    assert len(kernel.journal) == 1
    assert [row.id for row in rows] == ["b"]
    filters = {
        "app_name": "shop",
        "version": "v2",
        "action_name": "buy",
        "deployment_id": "d1",
        "status": "failed",
        "since": "5m",
        "query": "q",
        "limit": "100",
    }
    assert [dict(request.query) for request in kernel.journal] == [
        {**filters, "offset": "0"},
        {**filters, "offset": "1"},
    ]


@pytest.mark.parametrize(("status", "queue_seconds"), [("running", 0), ("queued", math.inf)])
def test_hook_list_of_active_invocations_may_be_ended_while_it_is_read(
    kernel, hook, status, queue_seconds, monkeypatch
):
    kernel.switches.queue_seconds = queue_seconds
    started = {hook.invoke("demo", "hang").id for _ in range(5)}
    for invocation_id in started:
        kernel.wait_for_status(invocation_id, status)
    monkeypatch.setattr(requests, "list_invocations", functools.partial(requests.list_invocations, limit=2))
    ended = [hook.cancel_invocation(invocation.id).id for invocation in hook.list_invocations(status=status)]
    assert sorted(ended) == sorted(started)


@pytest.mark.parametrize(
    ("call", "status", "output"),
    [
        (lambda hook, run: hook.complete_invocation(run, {"a": 1}), "succeeded", '{"a": 1}'),
        (lambda hook, run: hook.complete_invocation(run), "succeeded", None),
        (lambda hook, run: hook.complete_invocation(run, None), "succeeded", "null"),
        (lambda hook, run: hook.update_invocation(run, "failed", "why"), "failed", '"why"'),
        (lambda hook, run: hook.update_invocation(run, "succeeded"), "succeeded", None),
    ],
    ids=["complete", "complete without output", "complete with None", "fail", "succeed"],
)
def test_hook_update_and_complete_send_status_and_output(kernel, hook, call, status, output):
    run = hook.invoke("demo", "hang").id
    assert call(hook, run).status == status
    assert kernel.invocation(run).status == status
    (request,) = kernel.requests("PATCH")
    sent = json.loads(request.body)
    assert (sent["status"], sent.get("output")) == (status, output)


def test_hook_complete_raises_for_a_failed_invocation(kernel, hook):
    run = hook.invoke("demo", "hang").id
    kernel.finish(run, "failed", output="its own")
    kernel.add_fault(Fault("PATCH", "/invocations/*", status=400))
    with pytest.raises(KernelInvocationFinishedError):
        hook.complete_invocation(run, "late")


def test_hook_cancel_ends_the_invocation_and_logs_it(kernel, hook, log):
    run = hook.invoke("demo", "hang").id
    assert hook.cancel_invocation(run, "not wanted").status == "failed"
    assert [request.method for request in kernel.journal] == ["POST", "GET", "PATCH", "DELETE"]
    assert json.loads(kernel.requests("PATCH")[0].body)["output"] == '{"error": "not wanted"}'
    assert log == [(20, f"Invocation {run} was cancelled; it is now failed")]


def test_hook_cancel_has_a_default_reason(kernel, hook):
    hook.cancel_invocation(hook.invoke("demo", "hang").id)
    assert json.loads(kernel.requests("PATCH")[0].body)["output"] == '{"error": "Cancelled by Airflow"}'


def test_hook_cancel_leaves_a_succeeded_invocation_unchanged(kernel, hook, log):
    run = hook.invoke("demo", "hang").id
    kernel.finish(run, "succeeded", output=5)
    assert hook.cancel_invocation(run).parsed_output() == 5
    assert [request.method for request in kernel.journal] == ["POST", "GET"]
    assert log == [(20, f"Invocation {run} had already ended as succeeded")]


def test_hook_lists_and_deletes_invocation_browsers(kernel, hook):
    browser = {"session_id": "s1"}
    kernel.add_fault(Fault("GET", "/invocations/*/browsers", status=200, body={"browsers": [browser]}))
    run = hook.invoke("demo", "hang").id
    assert [browser.session_id for browser in hook.list_invocation_browsers(run)] == ["s1"]
    assert hook.delete_invocation_browsers(run) is None
    assert [request.path for request in kernel.requests("DELETE")] == [f"/invocations/{run}/browsers"]


def test_hook_list_apps_sends_its_filters(kernel, hook):
    assert [app.app_name for app in hook.list_apps(app_name="demo", version="latest", query="de")] == ["demo"]
    (request,) = kernel.journal
    assert {("app_name", "demo"), ("version", "latest"), ("query", "de")} <= set(dict(request.query).items())


def test_hook_sends_the_project_of_the_connection(kernel, connect):
    connect(host=kernel.base_url, extra={"project": "shop"})
    with KernelHook("my_kernel") as hook:
        list(hook.list_invocations())
    headers = {name.lower(): value for name, value in dict(kernel.journal[0].headers).items()}
    assert headers["x-kernel-project"] == "shop"
    assert headers["user-agent"] == hook.config.user_agent


def test_hook_error_does_not_hold_the_key(kernel, hook):
    kernel.add_fault(Fault("GET", "/apps", None, status=500))
    hook = KernelHook("my_kernel", retry=RetryPolicy(max_attempts=1))
    with hook, pytest.raises(KernelServerError) as raised:
        list(hook.list_apps())
    assert KEY not in f"{raised.value!s}{raised.value!r}{vars(raised.value)}"


def test_hook_logs_neither_key_nor_payload(kernel, connect):
    connect(host=kernel.base_url)
    with structlog.testing.capture_logs() as lines, KernelHook("my_kernel") as hook:
        hook.cancel_invocation(hook.invoke("demo", "hang", {"card": "4111"}).id)
    assert lines
    assert KEY not in str(lines)
    assert "4111" not in str(lines)
