"""Every request that this package makes is one that Kernel's description allows, and every answer is understood."""

from __future__ import annotations

import itertools
import json
import os
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

import pytest
import yaml
from airflow.sdk import DAG
from conformance.conftest import KEY, ONCE
from conformance.prism import KERNEL, PATCH, executable
from hypothesis import HealthCheck, given, settings, strategies as st
from support.execution_api import ExecutionAPI, task_instance
from support.in_process import run_task

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.client import KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.http.pagination import Page, next_page
from airflow_provider_kernel.client.http.request import Request
from airflow_provider_kernel.client.resources.apps import list_apps
from airflow_provider_kernel.client.resources.auth import get_auth_context
from airflow_provider_kernel.client.resources.invocations import requests
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationFinishedError
from airflow_provider_kernel.client.resources.invocations.events import EventFollower
from airflow_provider_kernel.client.unset import UNSET
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.operators.invocation import (
    KernelCancelInvocationOperator,
    KernelCompleteInvocationOperator,
    KernelInvokeOperator,
    KernelUpdateInvocationOperator,
)
from airflow_provider_kernel.operators.orphans import KernelCancelOrphansOperator
from airflow_provider_kernel.sensors.invocation import KernelInvocationSensor

GENERATED = int(os.environ.get("CONFORMANCE_REQUESTS", "200"))

#: Ids and names that a path or a query can get wrong.
AWKWARD = ["rr33xuugxj9h0bkf1rdt2bet", "a b", "50%", "a+b&c=d", "ü😀", "a?b#c", "%2F", "a;b", "...", "{id}", "a:b"]
PAYLOADS = [UNSET, None, "", "text", "ü😀", 0, -1.5, True, [], {}, {"a": [1, {"b": None}]}, "\x00\n", "x" * 70_000]

#: The operations of the description that this package uses, by how a request of theirs is made.
OPERATIONS = {
    ("post", "/invocations"): lambda id_: requests.create_invocation(id_, id_, payload={"id": id_}),
    ("get", "/invocations"): lambda id_: requests.list_invocations(query=id_),
    ("get", "/invocations/{id}"): requests.get_invocation,
    ("patch", "/invocations/{id}"): lambda id_: requests.update_invocation(id_, "failed", {"error": "test"}),
    ("get", "/invocations/{id}/browsers"): requests.list_invocation_browsers,
    ("delete", "/invocations/{id}/browsers"): requests.delete_invocation_browsers,
    ("get", "/invocations/{id}/events"): lambda id_: requests.follow_invocation(id_, since="2h"),
    ("get", "/apps"): lambda id_: list_apps(query=id_),
    ("get", "/auth/context"): lambda id_: get_auth_context(),
}
#: Those that it does not use.
UNUSED = ("/deployments", "/browsers", "/browser_pools")


class Answer(NamedTuple):
    method: str
    path: str
    status: int

    def __str__(self):
        return f"{self.method} {self.path} {self.status}"


def documented(file):
    """All answers that a description knows, of the operations that are used."""
    answers = []
    for path, operations in yaml.safe_load(file.read_text())["paths"].items():
        if path.startswith(UNUSED):
            continue
        for method, operation in operations.items():
            answers += [Answer(method, path, int(status)) for status in operation["responses"]]
    return answers


def since():
    return datetime(2026, 6, 1, 12, tzinfo=timezone(timedelta(hours=2)))


def every_request():
    for id_ in AWKWARD:
        for make in OPERATIONS.values():
            yield make(id_)
    for payload in PAYLOADS:
        yield requests.create_invocation("shop", "buy", payload=payload)
        for status in ("succeeded", "failed"):
            yield requests.update_invocation("abc", status, payload)
    for seconds in (10, 900, 3600):
        yield requests.create_invocation("shop", "buy", version="1.0.0", async_timeout_seconds=seconds)
    for moment in ("5m", "2026-06-01T12:00:00Z", since()):
        yield requests.list_invocations(since=moment)
    for status in ("queued", "running", "succeeded", "failed"):
        yield requests.list_invocations(status=status)
    for limit, offset in ((1, 0), (100, 10**9)):
        yield requests.list_invocations(limit=limit, offset=offset)
        yield list_apps(limit=limit, offset=offset)
    yield list_apps(app_name="ü b", version="&", query="")
    yield requests.list_invocations(
        app_name="a b", version="&", action_name="#", deployment_id="?", status="failed", since=since(), query="ü"
    )
    yield next_page(requests.list_invocations(limit=7), Page(("row",), 7))
    follower = EventFollower("abc")
    yield follower.connect()
    line = {"event": "log", "message": "x", "timestamp": "2026-06-01T12:00:00.123456789Z"}
    list(follower.accept(requests_event(line)))
    yield follower.connect()


def requests_event(document):
    from airflow_provider_kernel.client.resources.invocations.event_models import parse_event

    return parse_event(json.dumps(document))


@pytest.fixture
def judged(prism):
    """Prism, which is to reject none of the test's requests."""
    with accepting(prism):
        yield prism


@contextmanager
def accepting(server):
    before = len(server.verdicts)
    yield
    verdicts = server.verdicts[before:]
    assert verdicts
    assert [verdict for verdict in verdicts if verdict[1]] == []


class TestTheJudge:
    """It must be able to say no."""

    def test_prism_rejects_what_the_description_does_not_allow(self, prism, send):
        wrong = Request("POST", "/invocations", requests.nothing, body=b'{"app_name": "shop"}')
        with pytest.raises(errors.KernelBadRequestError):
            send(prism, wrong)
        assert "must have required property 'action_name'" in prism.verdicts[-1][1]
        with pytest.raises(errors.KernelNotFoundError):
            send(prism, replace(wrong, path="/invocation"))
        assert prism.verdicts[-1][1] == "there is no such operation"
        prism.wrong_on_purpose += 2

    def test_prism_knows_every_operation_that_is_used(self):
        assert {(answer.method, answer.path) for answer in documented(KERNEL)} == set(OPERATIONS)

    def test_missing_prism_is_reported_clearly(self, monkeypatch):
        monkeypatch.delenv("PRISM", raising=False)
        monkeypatch.setenv("PATH", "")
        with pytest.raises(AssertionError, match=r"These tests need Prism.*npm install"):
            executable()


class TestRequests:
    def test_all_requests_are_accepted(self, judged, send):
        for request in every_request():
            with suppress(errors.KernelServerError):  # its stream
                send(judged, request)

    @settings(
        max_examples=GENERATED,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(data=st.data())
    def test_generated_requests_are_accepted(self, judged, send, data):
        id_ = st.text(min_size=1, max_size=40)
        json_ = st.recursive(
            st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        )
        kind = data.draw(st.sampled_from(["create", "update", "get", "browsers", "list", "apps"]))
        try:
            if kind == "create":
                request = requests.create_invocation(
                    data.draw(id_),
                    data.draw(id_),
                    payload=data.draw(json_),
                    version=data.draw(id_),
                    async_timeout_seconds=data.draw(st.none() | st.integers(10, 3600)),
                )
            elif kind == "update":
                status = data.draw(st.sampled_from(["succeeded", "failed"]))
                request = requests.update_invocation(data.draw(id_), status, data.draw(json_))
            elif kind == "get":
                request = requests.get_invocation(data.draw(id_))
            elif kind == "browsers":
                request = requests.list_invocation_browsers(data.draw(id_))
            else:
                make = requests.list_invocations if kind == "list" else list_apps
                request = make(
                    app_name=data.draw(st.none() | id_),
                    query=data.draw(st.none() | st.text()),
                    limit=data.draw(st.integers(1, 100)),
                    offset=data.draw(st.integers(0, 10**6)),
                )
        except errors.KernelInputError:
            return
        send(judged, request)

    def test_requests_of_the_official_excerpt_are_accepted(self, prism_of_the_excerpt, send):
        with accepting(prism_of_the_excerpt):
            for id_, output in itertools.product(AWKWARD, PAYLOADS):
                answer = send(prism_of_the_excerpt, requests.update_invocation(id_, "succeeded", output))
                # Its example, time stamps that are none included.
                assert answer.started_at == "2024-05-19T15:30:00.000000000Z07:00"
                assert answer.seconds is None

    def test_requests_of_a_followed_stream_are_accepted(self, judged):
        # Prism cannot write an event stream, and says so with a 500; what counts is the request.
        follower = EventFollower("abc", clock=itertools.count(step=60.0).__next__)
        with KernelClient(KernelConfig(KEY, judged.base_url, retry=ONCE), sleep=lambda seconds: None) as client:
            assert list(client.follow(follower)) == []
        assert "500" in follower.given_up


@pytest.mark.parametrize("prefer", ["", "dynamic=true"], ids=["example", "random"])
class TestAnswers:
    @pytest.mark.parametrize("answer", documented(KERNEL), ids=str)
    def test_every_documented_answer_is_understood(self, judged, send, answer, prefer):
        self.check(judged, send, answer, prefer)

    @pytest.mark.parametrize("answer", documented(PATCH), ids=str)
    def test_every_answer_of_the_excerpt_is_understood(self, prism_of_the_excerpt, send, answer, prefer):
        self.check(prism_of_the_excerpt, send, answer, prefer)

    def check(self, server, send, answer, prefer):
        request = OPERATIONS[answer.method, answer.path]("abc")
        prefer = f"code={answer.status}, {prefer}".rstrip(", ")
        for _ in range(5 if "dynamic" in prefer else 1):
            try:
                got = send(server, request, prefer)
            except errors.KernelAPIError as error:
                is_stream = answer.path.endswith("/events") and answer.status == 200
                assert error.status_code == (500 if is_stream else answer.status)  # noqa: PT017
                assert is_stream or error.message  # noqa: PT017
            except errors.KernelResponseError as error:
                # Random page headers may name a next page that cannot be one.
                assert "dynamic" in prefer, error  # noqa: PT017
                assert "names no next page" in str(error)  # noqa: PT017
            else:
                assert answer.status < 300
                assert (got is None) == (answer.status == 204)


@pytest.fixture
def random_answers(monkeypatch, judged):
    """The connection leads to Prism, which answers at random: an invocation ends sooner or later."""
    headers = KernelConfig.headers
    monkeypatch.setattr(KernelConfig, "headers", lambda self: {**headers(self), "Prefer": "dynamic=true"})
    connection = {"conn_type": "kernel", "host": judged.base_url, "password": KEY, "extra": {"project": "shop"}}
    monkeypatch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", json.dumps(connection))
    monkeypatch.setattr("airflow_provider_kernel.owned.invocation.OwnedInvocation.listing_lag_seconds", 0.0)
    return judged


TASKS = {
    "invoke": (KernelInvokeOperator, {"app_name": "a", "action_name": "b", "payload": [1], "poll_interval": 0.01}),
    "invoke with a mark": (
        KernelInvokeOperator,
        {
            "app_name": "a",
            "action_name": "b",
            "version": "1",
            "async_timeout_seconds": 60,
            "correlation_key": "_airflow",
            "stream_logs": False,
            "poll_interval": 0.01,
        },
    ),
    "invoke and defer": (
        KernelInvokeOperator,
        {"app_name": "a", "action_name": "b", "deferrable": True, "stream_logs": False, "poll_interval": 0.01},
    ),
    "invoke only": (KernelInvokeOperator, {"app_name": "a", "action_name": "b", "wait_for_completion": False}),
    "complete": (KernelCompleteInvocationOperator, {"invocation_id": "abc", "invocation_output": {"a": 1}}),
    "cancel": (KernelCancelInvocationOperator, {"invocation_id": "abc"}),
    "update": (KernelUpdateInvocationOperator, {"invocation_id": "abc", "status": "failed"}),
    "sensor": (KernelInvocationSensor, {"invocation_id": "abc", "poke_interval": 0.01}),
    "orphans": (KernelCancelOrphansOperator, {"app_name": "a", "correlation_key": "_airflow"}),
}


class TestTasksAndHook:
    @pytest.mark.parametrize("name", TASKS)
    def test_tasks_send_only_accepted_requests(self, random_answers, name):
        operator, arguments = TASKS[name]
        with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):
            task = operator(task_id="t", **arguments)
        for _ in range(1 if name == "invoke" else 3):
            result = run_task(ti=task_instance(), task=task, client=ExecutionAPI().client())
            assert result.state is not None

    def test_hook_calls_are_accepted(self, random_answers):
        with KernelHook() as hook:
            hook.invoke("shop", "buy", {"a": 1})
            hook.get_invocation("abc")
            hook.list_invocation_browsers("abc")
            hook.delete_invocation_browsers("abc")
            with suppress(errors.KernelResponseError):  # random headers may say that an empty page is not the last
                list(hook.list_invocations(app_name="shop", since="5m"))
            with suppress(errors.KernelResponseError):
                list(hook.list_apps(app_name="shop"))
            with suppress(KernelInvocationFinishedError):
                hook.complete_invocation("abc", {"a": 1})
            hook.cancel_invocation("abc")
            assert hook.test_connection()[0]


def test_count_of_requests_and_answers(prism, prism_of_the_excerpt, tell):
    """The last one: nothing was rejected that was not wrong on purpose."""
    verdicts = [*prism.verdicts, *prism_of_the_excerpt.verdicts]
    rejected = sum(bool(complaints) for _, complaints in verdicts)
    on_purpose = prism.wrong_on_purpose
    tell(
        f"Prism judged {len(verdicts)} requests: {rejected - on_purpose} rejected "
        f"(and {on_purpose} that were wrong on purpose)"
    )
    assert rejected == on_purpose
