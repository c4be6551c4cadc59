"""Every endpoint, when all goes well: what is asked over the wire, and what its answer becomes."""

from __future__ import annotations

from datetime import timedelta, timezone

import pytest
from contract.wire import Relay

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.resources.apps import list_apps
from airflow_provider_kernel.client.resources.auth import get_auth_context
from airflow_provider_kernel.client.resources.invocations import requests
from airflow_provider_kernel.client.resources.invocations.status import InvocationStatus
from airflow_provider_kernel.client.resources.limits import get_limits
from airflow_provider_kernel.client.timestamps import parse_timestamp
from airflow_provider_kernel.client.unset import UNSET
from airflow_provider_kernel.testing import Fault
from airflow_provider_kernel.testing.resources.limits import Limits


@pytest.fixture
def relay(kernel_emulator):
    with Relay(kernel_emulator.port) as relay:
        yield relay


def only(kernel_emulator, method, path):
    (request,) = kernel_emulator.requests(method, path)
    return request


class TestCreate:
    def test_create_sends_async_and_returns_what_was_started(self, client, kernel_emulator):
        started = client.send(
            requests.create_invocation("demo", "echo", payload={"order": 7}, async_timeout_seconds=60)
        )
        assert (started.action_name, started.status) == ("echo", "queued")
        assert only(kernel_emulator, "POST", "/invocations").json == {
            "app_name": "demo",
            "action_name": "echo",
            "version": "latest",
            "async": True,
            "payload": '{"order": 7}',
            "async_timeout_seconds": 60,
        }
        record = kernel_emulator.wait_for_status(started.id, "succeeded")
        assert (record.payload_json, record.output_json) == ({"order": 7}, {"order": 7})

    @pytest.mark.parametrize(
        ("payload", "on_the_wire"),
        [(None, "null"), ("text", '"text"'), ("", '""'), ([1, "zwölf ☃"], '[1, "zwölf ☃"]'), (0, "0"), ({}, "{}")],
    )
    def test_create_sends_any_payload_as_json_text(self, client, kernel_emulator, payload, on_the_wire):
        started = client.send(requests.create_invocation("demo", "echo", payload=payload))
        assert kernel_emulator.invocation(started.id).payload == on_the_wire
        assert kernel_emulator.wait_for_status(started.id, "succeeded").output_json == payload

    def test_create_without_a_payload_sends_none(self, client, kernel_emulator):
        client.send(requests.create_invocation("demo", "echo"))
        assert "payload" not in only(kernel_emulator, "POST", "/invocations").json

    def test_create_sends_the_version(self, client, kernel_emulator):
        kernel_emulator.register("shop", "buy", lambda ctx: "bought", version="2.1")
        started = client.send(requests.create_invocation("shop", "buy", version="2.1"))
        assert kernel_emulator.invocation(started.id).version == "2.1"


class TestGet:
    def test_get_returns_all_fields_of_a_succeeded_invocation(self, client, kernel_emulator):
        started = client.send(requests.create_invocation("demo", "echo", payload={"a": [1, None]}))
        record = kernel_emulator.wait_for_status(started.id, "succeeded")
        found = client.send(requests.get_invocation(started.id))
        assert found.is_final
        assert (found.id, found.status) == (started.id, InvocationStatus.SUCCEEDED)
        assert (found.app_name, found.action_name, found.version) == ("demo", "echo", "latest")
        assert (found.started_at, found.finished_at) == (record.started_at, record.finished_at)
        assert found.parsed_output() == {"a": [1, None]}
        assert found.payload == '{"a": [1, null]}'
        assert found.seconds >= 0
        assert found.status_reason is None

    def test_get_of_a_running_invocation_is_not_final_and_has_no_output(self, client, running):
        found = client.send(requests.get_invocation(running))
        assert not found.is_final
        assert (found.status, found.finished_at, found.output, found.seconds) == ("running", None, None, None)

    @pytest.mark.parametrize(("plain", "output"), [(True, "no luck"), (False, {"error": "no luck"})])
    def test_get_of_a_failed_invocation_has_its_reason_and_output(self, client, kernel_emulator, plain, output):
        started = client.send(
            requests.create_invocation("demo", "fail", payload={"message": "no luck", "plain": plain})
        )
        kernel_emulator.wait_for_status(started.id, "failed")
        found = client.send(requests.get_invocation(started.id))
        assert (found.status, found.status_reason, found.parsed_output()) == ("failed", "The action failed", output)


class TestList:
    @pytest.fixture
    def shop(self, client, kernel_emulator):
        """Five runs of two apps: three succeed, one fails, one goes on; in the order they were started."""
        kernel_emulator.register("shop", "buy-all", lambda ctx, payload: payload, version="2.1")
        kernel_emulator.register("shop", "hang", lambda ctx: ctx.wait(), version="2.1")
        ids = [
            client.send(requests.create_invocation(app, action, version=version)).id
            for app, action, version in (
                ("demo", "echo", "latest"),
                ("demo", "fail", "latest"),
                ("shop", "buy-all", "2.1"),
                ("shop", "hang", "2.1"),
                ("demo", "echo", "latest"),
            )
        ]
        for invocation_id, status in zip(
            ids, ("succeeded", "failed", "succeeded", "running", "succeeded"), strict=True
        ):
            kernel_emulator.wait_for_status(invocation_id, status)
        return ids

    def test_list_fetches_pages_of_a_hundred(self, connect, client, kernel_emulator):
        create = requests.create_invocation("demo", "echo")
        ids = [started.id for started in connect.at_once(*[(client, create)] * 8)]
        ids += [client.send(create).id for _ in range(95)]
        found = client.pages(requests.list_invocations())
        assert len(found) == 103
        assert {invocation.id for invocation in found} == set(ids)
        assert [(r.query["limit"], r.query["offset"]) for r in kernel_emulator.requests("GET")] == [
            ("100", "0"),
            ("100", "100"),
        ]

    def test_list_pages_keep_the_order_and_the_filters(self, client, kernel_emulator, shop):
        found = client.pages(requests.list_invocations(app_name="demo", limit=2))
        assert [invocation.id for invocation in found] == [shop[4], shop[1], shop[0]]
        assert [dict(r.query) for r in kernel_emulator.requests("GET", "/invocations")] == [
            {"app_name": "demo", "limit": "2", "offset": "0"},
            {"app_name": "demo", "limit": "2", "offset": "2"},
        ]

    def test_list_that_fills_its_last_page_ends_there(self, client, kernel_emulator, shop):
        assert len(client.pages(requests.list_invocations(app_name="shop", limit=2))) == 2
        assert len(kernel_emulator.requests("GET")) == 1

    def test_list_fetches_pages_lazily(self, client, kernel_emulator, shop):
        assert len(client.pages(requests.list_invocations(limit=2), rows=2)) == 2
        assert len(kernel_emulator.requests("GET")) == 1

    def test_list_without_invocations_is_empty(self, client):
        assert client.pages(requests.list_invocations()) == []

    def test_list_rows_hold_as_much_as_a_get(self, client, shop):
        (row,) = client.pages(requests.list_invocations(status="failed"))
        assert row == client.send(requests.get_invocation(row.id))

    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            ({"app_name": "shop"}, [3, 2]),
            ({"action_name": "echo"}, [4, 0]),
            ({"app_name": "demo", "action_name": "fail"}, [1]),
            ({"version": "2.1"}, [3, 2]),
            ({"status": "succeeded"}, [4, 2, 0]),
            ({"status": InvocationStatus.RUNNING}, [3]),
            ({"query": "bUy-a"}, [2]),
            ({"query": "a&b=c#d"}, []),
            ({"since": "1h"}, [4, 3, 2, 1, 0]),
            ({"since": "0s"}, []),
            ({"offset": 3}, [1, 0]),
        ],
        ids=str,
    )
    def test_list_filter_returns_what_matches(self, client, shop, filters, expected):
        found = client.pages(requests.list_invocations(**filters))
        assert [shop.index(invocation.id) for invocation in found] == expected

    def test_list_filters_by_deployment(self, client, kernel_emulator, shop):
        deployment = kernel_emulator.invocation(shop[2]).deployment_id
        found = client.pages(requests.list_invocations(deployment_id=deployment))
        assert [invocation.id for invocation in found] == [shop[3], shop[2]]

    @pytest.mark.parametrize("zone", [timezone.utc, timezone(timedelta(hours=5, minutes=30))], ids=str)
    def test_list_since_takes_a_datetime_of_any_zone(self, client, kernel_emulator, shop, zone):
        moment = parse_timestamp(kernel_emulator.invocation(shop[3]).started_at).astimezone(zone)
        found = client.pages(requests.list_invocations(since=moment))
        assert [invocation.id for invocation in found] == [shop[4], shop[3]]
        assert kernel_emulator.requests("GET")[-1].query["since"].endswith("Z")

    def test_list_query_finds_an_id(self, client, shop):
        (found,) = client.pages(requests.list_invocations(query=shop[2]))
        assert found.id == shop[2]


class TestUpdate:
    @pytest.mark.parametrize("status", ["succeeded", "failed"])
    @pytest.mark.parametrize(
        ("output", "on_the_wire"),
        [
            ({"rows": [1, 2]}, '{"rows": [1, 2]}'),
            ("done", '"done"'),
            (None, "null"),
            (False, "false"),
            ("Grüße ☃", '"Grüße ☃"'),
        ],
    )
    def test_update_ends_the_invocation_with_an_output(
        self, client, kernel_emulator, running, status, output, on_the_wire
    ):
        updated = client.send(requests.update_invocation(running, status, output))
        assert (updated.status, updated.output, updated.parsed_output()) == (status, on_the_wire, output)
        record = kernel_emulator.invocation(running)
        assert (record.status, record.output) == (status, on_the_wire)
        assert only(kernel_emulator, "PATCH", "/invocations/*").json == {"status": status, "output": on_the_wire}

    @pytest.mark.parametrize("status", [InvocationStatus.SUCCEEDED, "failed"])
    def test_update_without_an_output_sends_none(self, client, kernel_emulator, running, status):
        updated = client.send(requests.update_invocation(running, status, UNSET))
        assert (updated.status, updated.output) == (str(status), None)
        assert only(kernel_emulator, "PATCH", "/invocations/*").json == {"status": str(status)}


class TestBrowsers:
    @pytest.fixture
    def browsing(self, client, kernel_emulator):
        started = client.send(requests.create_invocation("demo", "browsers", payload={"count": 2, "seconds": 3600}))
        kernel_emulator.wait_until(lambda: kernel_emulator.invocation(started.id).browsers == 2)
        return started.id

    def test_browsers_are_listed_without_tokens_in_their_repr(self, client, browsing):
        found = client.send(requests.list_invocation_browsers(browsing))
        assert len({browser.session_id for browser in found}) == 2
        for browser in found:
            assert (browser.headless, browser.stealth, browser.timeout_seconds) == (False, False, 60)
            assert browser.cdp_ws_url.startswith("wss://")
            assert browser.webdriver_ws_url.startswith("wss://")
            assert browser.browser_live_view_url.startswith("https://")
        assert "token" not in repr(found)

    def test_browsers_are_deleted_while_the_invocation_goes_on(self, client, kernel_emulator, browsing):
        assert client.send(requests.delete_invocation_browsers(browsing)) is None
        record = kernel_emulator.invocation(browsing)
        assert (record.browsers, record.status) == (0, "running")
        assert client.send(requests.list_invocation_browsers(browsing)) == []

    def test_browsers_deleted_twice_are_no_error(self, client, browsing):
        client.send(requests.delete_invocation_browsers(browsing))
        assert client.send(requests.delete_invocation_browsers(browsing)) is None


class TestApps:
    def test_apps_list_the_actions_of_a_version(self, client):
        (demo,) = client.pages(list_apps())
        assert (demo.app_name, demo.version, demo.region) == ("demo", "latest", "aws.us-east-1a")
        assert [action.name for action in demo.actions] == ["echo", "sleep", "fail", "logs", "browsers", "hang"]

    def test_apps_are_paged_and_filtered(self, client, kernel_emulator):
        for app, version in (("shop", "1"), ("shop", "2"), ("workshop", "2")):
            kernel_emulator.register(app, "buy", lambda ctx: None, version=version)

        def found(**filters):
            return [(app.app_name, app.version) for app in client.pages(list_apps(limit=1, **filters))]

        assert found() == [("demo", "latest"), ("shop", "1"), ("shop", "2"), ("workshop", "2")]
        assert found(app_name="shop") == [("shop", "1"), ("shop", "2")]
        assert found(version="2") == [("shop", "2"), ("workshop", "2")]
        assert found(query="SHOP") == [("shop", "1"), ("shop", "2"), ("workshop", "2")]


class TestAuthContext:
    def test_auth_context_of_an_organization_key_is_the_default_project(self, client):
        context = client.send(get_auth_context())
        assert context.organization.id == "org_emulator"
        assert context.authorization.credential_scope.project_id is None
        assert context.project_id == "proj_default"

    def test_auth_context_is_the_configured_project(self, connect, kernel_emulator):
        project = kernel_emulator.add_project("Client No. 5")
        for named in (project.id, project.name):
            there = connect(kernel_emulator, project=named)
            assert there.send(get_auth_context()).project_id == project.id

    def test_auth_context_of_a_scoped_key_has_its_scope(self, connect, kernel_emulator):
        project = kernel_emulator.add_project("team")
        kernel_emulator.add_key("sk-team-key", "team")
        context = connect(kernel_emulator, api_key="sk-team-key").send(get_auth_context())
        assert context.authorization.credential_scope.project_id == project.id


class TestLimits:
    def test_limits_have_their_use(self, client, kernel_emulator):
        kernel_emulator.room(Limits).concurrent_sessions_used = 4
        limits = client.send(get_limits())
        assert (limits.max_concurrent_sessions, limits.max_auth_connections) == (5, 3)
        assert (limits.concurrent_sessions_used, limits.concurrent_sessions_available) == (4, 1)
        assert limits.default_project_max_concurrent_sessions is None

    def test_limits_whose_use_cannot_be_read_are_none(self, client, kernel_emulator):
        kernel_emulator.room(Limits).concurrent_sessions_used = None
        assert client.send(get_limits()).concurrent_sessions_available is None

    def test_limits_of_an_older_api_may_lack_fields(self, client, kernel_emulator):
        kernel_emulator.add_fault(Fault("GET", "/org/limits", body={"max_concurrent_sessions": 500}))
        limits = client.send(get_limits())
        assert (limits.max_concurrent_sessions, limits.concurrent_sessions_available) == (500, None)


ODD_IDS = {
    "a b": "a%20b",
    "a?b=c": "a%3Fb%3Dc",
    "a#b": "a%23b",
    "a%2Fb": "a%252Fb",
    "a&b+c;d": "a%26b%2Bc%3Bd",
    "grün☃": "gr%C3%BCn%E2%98%83",
    "..;": "..%3B",
    "a:b@c": "a%3Ab%40c",
}


class TestOddIds:
    @pytest.mark.parametrize("odd", ODD_IDS)
    @pytest.mark.parametrize(
        ("make", "method", "suffix"),
        [
            (requests.get_invocation, "GET", ""),
            (lambda odd: requests.update_invocation(odd, "failed"), "PATCH", ""),
            (requests.list_invocation_browsers, "GET", "/browsers"),
            (requests.delete_invocation_browsers, "DELETE", "/browsers"),
        ],
        ids=["get", "update", "list browsers", "delete browsers"],
    )
    def test_odd_id_stays_one_segment_of_the_path(self, connect, kernel_emulator, relay, odd, make, method, suffix):
        with pytest.raises(errors.KernelNotFoundError):
            connect(relay).send(make(odd))
        assert relay.request_lines() == [f"{method} /invocations/{ODD_IDS[odd]}{suffix} HTTP/1.1"]
        (request,) = kernel_emulator.journal
        assert (request.path, dict(request.query)) == (f"/invocations/{odd}{suffix}", {})


class TestHeaders:
    def test_request_headers_name_the_client_and_the_project(self, connect, kernel_emulator, relay):
        kernel_emulator.add_project("team")
        client = connect(relay, project="team", user_agent="airflow-provider-kernel/9.9")
        client.send(requests.create_invocation("demo", "echo"))
        client.pages(requests.list_invocations())
        assert len(kernel_emulator.journal) == 2
        for request in kernel_emulator.journal:
            assert request.headers["authorization"] == "Bearer"  # the emulator keeps no keys
            assert request.headers["x-kernel-project"] == "team"
            assert request.headers["user-agent"] == "airflow-provider-kernel/9.9"
            assert request.headers["accept"] == "application/json"
        assert kernel_emulator.journal[0].headers["content-type"] == "application/json"
        assert relay.sent.count(b"Authorization: Bearer sk-emulator\r\n") == 2

    def test_request_has_the_key_in_the_authorization_header_only(self, connect, relay):
        connect(relay).send(requests.create_invocation("demo", "echo"))
        assert relay.sent.count(b"sk-emulator") == 1
