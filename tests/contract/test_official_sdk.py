"""Kernel's official SDK, which knows nothing of this package, finds in the emulator the API that it is for."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone

import kernel as sdk
import pytest
from contract.official_sdk import AsyncSdk, SyncSdk

from airflow_provider_kernel.testing import Fault, KernelEmulator


@pytest.fixture(params=[SyncSdk, AsyncSdk], ids=["sync", "async"])
def connect(request):
    clients = []

    def connect(emulator, **options):
        clients.append(request.param(emulator, **options))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def kernel(connect, kernel_emulator):
    return connect(kernel_emulator)


@pytest.fixture
def start(kernel, kernel_emulator):
    def start(action="hang", payload=None, status="running"):
        arguments = {} if payload is None else {"payload": json.dumps(payload)}
        created = kernel(
            "invocations.create",
            app_name="demo",
            action_name=action,
            version="latest",
            async_=True,
            **{"async_timeout_seconds": 60, **arguments},
        )
        kernel_emulator.wait_for_status(created.id, status)
        return created.id

    return start


class TestCreate:
    def test_sdk_creates_an_asynchronous_invocation(self, kernel, kernel_emulator):
        created = kernel(
            "invocations.create",
            app_name="demo",
            action_name="hang",
            version="latest",
            payload='{"a": 1}',
            async_=True,
            async_timeout_seconds=60,
        )
        assert (created.status, created.action_name) == ("queued", "hang")
        assert re.fullmatch(r"[a-z0-9]{24}", created.id)
        assert kernel_emulator.invocation(created.id).payload_json == {"a": 1}

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            ({"app_name": "nobody"}, sdk.NotFoundError),
            ({"action_name": "nothing"}, sdk.NotFoundError),
            ({"version": "9"}, sdk.NotFoundError),
            ({"async_timeout_seconds": 5}, sdk.BadRequestError),
            ({"payload": "{"}, sdk.BadRequestError),
        ],
        ids=str,
    )
    def test_sdk_create_is_refused(self, kernel, arguments, error):
        good = {"app_name": "demo", "action_name": "echo", "version": "latest", "async_": True}
        with pytest.raises(error) as caught:
            kernel("invocations.create", **{**good, **arguments})
        assert caught.value.body["code"]
        assert caught.value.body["message"]

    def test_sdk_create_is_refused_at_the_limit_and_without_capacity(self, kernel, kernel_emulator):
        arguments = {"app_name": "demo", "action_name": "hang", "version": "latest", "async_": True}
        kernel_emulator.switches.max_concurrent = 0
        with pytest.raises(sdk.RateLimitError):
            kernel("invocations.create", **arguments)
        kernel_emulator.switches.capacity_exhausted = True
        with pytest.raises(sdk.InternalServerError) as caught:
            kernel("invocations.create", **arguments)
        assert caught.value.status_code == 529

    def test_sdk_retries_get_through_a_limit(self, connect, kernel_emulator):
        kernel_emulator.add_fault(Fault("POST", "/invocations", status=429, headers={"Retry-After": "0.1"}))
        patient = connect(kernel_emulator, max_retries=2)
        created = patient("invocations.create", app_name="demo", action_name="hang", version="latest", async_=True)
        assert created.status == "queued"
        assert len(kernel_emulator.requests("POST")) == 2
        assert len(kernel_emulator.invocations) == 1


class TestRetrieve:
    def test_sdk_retrieves_a_running_invocation(self, kernel, start):
        found = kernel("invocations.retrieve", start("hang", {"a": 1}))
        assert (found.app_name, found.version, found.action_name) == ("demo", "latest", "hang")
        assert (found.status, found.payload, found.output) == ("running", '{"a": 1}', None)
        assert abs(datetime.now(timezone.utc) - found.started_at) < timedelta(minutes=5)
        assert found.finished_at is None

    def test_sdk_retrieves_a_succeeded_invocation(self, kernel, start):
        found = kernel("invocations.retrieve", start("echo", [1, 2], "succeeded"))
        assert (found.status, json.loads(found.output), found.status_reason) == ("succeeded", [1, 2], None)
        assert found.finished_at >= found.started_at

    def test_sdk_retrieves_a_failed_invocation(self, kernel, start):
        found = kernel("invocations.retrieve", start("fail", None, "failed"))
        assert found.status == "failed"
        assert found.status_reason

    def test_sdk_retrieve_of_an_unknown_invocation_is_not_found(self, kernel):
        with pytest.raises(sdk.NotFoundError):
            kernel("invocations.retrieve", "nothing")


class TestList:
    def test_sdk_lists_all_pages(self, kernel, start):
        ids = [start("echo", n, "succeeded") for n in range(7)]
        found = kernel.all("invocations.list", limit=2)
        assert [invocation.id for invocation in found] == ids[::-1]
        assert {invocation.status for invocation in found} == {"succeeded"}

    @pytest.mark.parametrize(("rows", "limit"), [(0, 3), (1, 1), (3, 3), (4, 3), (6, 3)])
    def test_sdk_list_ends_with_the_last_page(self, kernel, kernel_emulator, start, rows, limit):
        for _ in range(rows):
            start("echo", 1, "succeeded")
        assert len(kernel.all("invocations.list", limit=limit)) == rows
        assert len(kernel_emulator.requests("GET", "/invocations")) == max(1, -(-rows // limit))

    def test_sdk_lists_one_page(self, kernel, start):
        for _ in range(3):
            start("echo", 1, "succeeded")
        page = kernel("invocations.list", limit=2, offset=1)
        assert len(page.items) == 2
        assert (page.has_more, page.next_offset) == (False, 0)

    def test_sdk_list_is_filtered(self, kernel, start):
        running, done = start("hang"), start("echo", 1, "succeeded")

        def ids(**filters):
            return {invocation.id for invocation in kernel.all("invocations.list", **filters)}

        assert ids(status="running") == {running}
        assert ids(action_name="echo") == ids(query=done) == {done}
        assert ids(app_name="demo", version="latest") == ids(since="5m") == {running, done}
        assert ids(app_name="other") == ids(since="2100-01-01T00:00:00Z") == set()


class TestUpdate:
    @pytest.mark.parametrize("status", ["succeeded", "failed"])
    def test_sdk_update_ends_an_invocation(self, kernel, start, status):
        updated = kernel("invocations.update", start(), status=status, output='{"a": 1}')
        assert (updated.status, updated.output) == (status, '{"a": 1}')
        assert updated.finished_at is not None
        assert bool(updated.status_reason) == (status == "failed")

    def test_sdk_update_without_an_output(self, kernel, start):
        assert kernel("invocations.update", start(), status="succeeded").output is None

    def test_sdk_update_of_an_unknown_invocation_is_not_found(self, kernel):
        with pytest.raises(sdk.NotFoundError):
            kernel("invocations.update", "nothing", status="failed")

    def test_sdk_update_to_an_invalid_status_is_refused(self, kernel, start):
        with pytest.raises(sdk.BadRequestError):
            kernel("invocations.update", start(), status="running")


class TestBrowsers:
    def test_sdk_lists_and_deletes_browsers(self, kernel, kernel_emulator, start):
        invocation_id = start("browsers", {"count": 2, "seconds": 600})
        kernel_emulator.wait_until(lambda: kernel_emulator.invocation(invocation_id).browsers == 2)
        browsers = kernel("invocations.list_browsers", invocation_id).browsers
        assert len({browser.session_id for browser in browsers}) == 2
        assert all(browser.cdp_ws_url.startswith("wss://") for browser in browsers)
        assert kernel("invocations.delete_browsers", invocation_id) is None
        assert kernel("invocations.list_browsers", invocation_id).browsers == []
        assert kernel("invocations.retrieve", invocation_id).status == "running"

    @pytest.mark.parametrize("call", ["list_browsers", "delete_browsers"])
    def test_sdk_browsers_of_an_unknown_invocation_are_not_found(self, kernel, call):
        with pytest.raises(sdk.NotFoundError):
            kernel(f"invocations.{call}", "nothing")


class TestFollow:
    def test_sdk_follows_an_invocation_to_its_end(self, kernel, start):
        events = kernel.all("invocations.follow", start("logs", {"lines": 3}), since="1h")
        kinds = [event.event for event in events]
        assert kinds.count("log") == 3
        assert kinds[-1] == "invocation_state"
        assert events[-1].invocation.status == "succeeded"
        assert all(event.timestamp.tzinfo for event in events)

    def test_sdk_follows_an_ended_invocation(self, kernel, start):
        (event,) = kernel.all("invocations.follow", start("echo", 1, "succeeded"))
        assert (event.event, event.invocation.output) == ("invocation_state", "1")

    def test_sdk_follows_a_quiet_invocation_with_heartbeats(self, kernel, kernel_emulator, start):
        kernel_emulator.switches.heartbeat_seconds = 0.05
        kernel_emulator.register("demo", "quiet", lambda ctx: ctx.wait(0.4))
        events = kernel.all("invocations.follow", start("quiet"))
        assert "sse_heartbeat" in [event.event for event in events]

    def test_sdk_follow_of_an_unknown_invocation_is_not_found(self, kernel):
        with pytest.raises(sdk.NotFoundError):
            kernel.all("invocations.follow", "nothing")


class TestAppsAndAuth:
    def test_sdk_lists_apps(self, kernel, kernel_emulator):
        for version in range(5):
            kernel_emulator.register("shop", "buy", lambda ctx: None, version=str(version))
        found = kernel.all("apps.list", limit=2)
        assert {(app.app_name, app.version) for app in found} >= {("shop", "0"), ("shop", "4"), ("demo", "latest")}
        (one,) = kernel.all("apps.list", app_name="shop", version="3")
        assert [action.name for action in one.actions] == ["buy"]
        assert one.region == "aws.us-east-1a"

    def test_sdk_auth_context_names_the_organization(self, kernel):
        context = kernel("auth.context.retrieve")
        assert context.organization.id
        assert context.authentication.method == "api_key"

    def test_sdk_acts_in_a_project(self, connect, kernel_emulator, kernel, start):
        start("echo", 1, "succeeded")
        project = kernel_emulator.add_project("shop")
        elsewhere = connect(kernel_emulator, default_headers={"X-Kernel-Project": "shop"})
        assert elsewhere("auth.context.retrieve").authorization.effective_scope.project_id == project.id
        assert elsewhere.all("invocations.list") == []
        assert len(kernel.all("invocations.list")) == 1

    def test_sdk_with_a_wrong_key(self, connect, kernel_emulator):
        stranger = connect(kernel_emulator, api_key="sk-wrong")
        with pytest.raises(sdk.AuthenticationError):
            stranger("auth.context.retrieve")
        with pytest.raises(sdk.AuthenticationError):
            stranger.all("invocations.list")

    def test_sdk_with_a_key_of_another_project(self, connect, kernel_emulator):
        kernel_emulator.add_project("shop")
        kernel_emulator.add_key("sk-shop", "shop")
        elsewhere = connect(kernel_emulator, api_key="sk-shop", default_headers={"X-Kernel-Project": "default"})
        with pytest.raises(sdk.PermissionDeniedError):
            elsewhere("auth.context.retrieve")


def test_sdk_when_nothing_listens(connect):
    with KernelEmulator() as emulator:
        client = connect(emulator)
    with pytest.raises(sdk.APIConnectionError):
        client("auth.context.retrieve")
