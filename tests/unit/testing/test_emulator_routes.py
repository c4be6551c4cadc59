from __future__ import annotations

import json
import re
import threading
from typing import Any

import pytest

from airflow_provider_kernel.testing import PAYLOAD_64_KB

NANOSECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")


def create_body(**changes: Any) -> dict[str, Any]:
    body = {
        "app_name": "demo",
        "version": "latest",
        "action_name": "echo",
        "payload": "1",
        "async": True,
        **changes,
    }
    return {name: value for name, value in body.items() if value is not ...}


class TestCreate:
    def test_asynchronous_answers_queued_at_once(self, kernel, invoke):
        answer = invoke("hang", wait=False)
        assert answer.status_code == 202
        assert answer.json() == {"id": answer.json()["id"], "action_name": "hang", "status": "queued"}
        assert re.fullmatch(r"[a-z0-9]{24}", answer.json()["id"])
        assert kernel.invocation(answer.json()["id"]).async_timeout_seconds == 900

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"app_name": ...}, "app_name"),
            ({"version": ...}, "version"),
            ({"action_name": ...}, "action_name"),
            ({"app_name": ""}, "app_name"),
            ({"app_name": 7}, "app_name"),
            ({"payload": {"not": "a string"}}, "payload"),
            ({"payload": None}, "payload"),
            ({"payload": "a bare word"}, "payload"),
            ({"payload": "NaN"}, "payload"),
            ({"async": "yes"}, "async"),
            ({"async": False}, "no synchronous invocations"),
            ({"async": ...}, "no synchronous invocations"),
            ({"async": True, "async_timeout_seconds": 9}, "async_timeout_seconds"),
            ({"async": True, "async_timeout_seconds": 3601}, "async_timeout_seconds"),
            ({"async": True, "async_timeout_seconds": 60.5}, "async_timeout_seconds"),
            ({"async": True, "async_timeout_seconds": "60"}, "async_timeout_seconds"),
            ({"async": True, "async_timeout_seconds": True}, "async_timeout_seconds"),
            ({"actoin_name": "x"}, "actoin_name"),
        ],
    )
    def test_refuses_what_does_not_fit(self, kernel, client, changes, named):
        answer = client.post("/invocations", json=create_body(**changes))
        assert answer.status_code == 400
        body = answer.json()
        assert (body["code"], body["inner_error"]["code"]) == ("bad_request", "invalid_input")
        assert named in body["message"]
        assert kernel.invocations == ()

    @pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"app_name": "\\ud800"}'])
    def test_refuses_a_body_that_is_no_object(self, client, content):
        answer = client.post("/invocations", content=content)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")

    @pytest.mark.parametrize("seconds", [10, 3600, 60.0])
    def test_takes_timeouts_up_to_the_bounds(self, kernel, invoke, seconds):
        invocation_id = invoke("hang", wait=False, async_timeout_seconds=seconds).json()["id"]
        assert kernel.invocation(invocation_id).async_timeout_seconds == seconds

    @pytest.mark.parametrize("changes", [{"app_name": "x"}, {"version": "9"}, {"action_name": "x"}])
    def test_what_is_not_deployed_is_a_404(self, client, changes):
        answer = client.post("/invocations", json=create_body(**changes))
        assert answer.status_code == 404
        assert answer.json()["code"] == "not_found"
        assert repr(next(iter(changes.values()))) in answer.json()["message"]

    def test_payload_over_4_5_mb_is_a_400(self, client):
        fits = json.dumps("x" * (4_500_000 - 2))
        assert client.post("/invocations", json=create_body(payload=fits)).status_code == 202
        assert client.post("/invocations", json=create_body(payload=fits[:-1] + 'x"')).status_code == 400

    def test_the_other_documented_payload_limit(self, kernel, client):
        kernel.switches.payload_limit_bytes = PAYLOAD_64_KB
        fits = json.dumps("x" * (PAYLOAD_64_KB - 2))
        assert client.post("/invocations", json=create_body(payload=fits)).status_code == 202
        assert client.post("/invocations", json=create_body(payload=fits[:-1] + 'x"')).status_code == 400

    def test_an_empty_payload_is_taken(self, kernel, client):
        invocation_id = client.post("/invocations", json=create_body(payload="")).json()["id"]
        record = kernel.wait_for_status(invocation_id, "succeeded")
        assert (record.payload, record.output) == ("", "null")


class TestRetrieve:
    def test_running(self, client, running):
        invocation_id = running("sleep", {"seconds": 3600})
        body = client.get(f"/invocations/{invocation_id}").json()
        assert NANOSECONDS.fullmatch(body.pop("started_at"))
        assert body == {
            "id": invocation_id,
            "app_name": "demo",
            "version": "latest",
            "action_name": "sleep",
            "status": "running",
            "finished_at": None,
            "payload": '{"seconds": 3600}',
        }

    def test_succeeded_has_output_and_no_reason(self, client, invoke):
        body = client.get(f"/invocations/{invoke('echo', 5).json()['id']}").json()
        assert (body["status"], body["output"]) == ("succeeded", "5")
        assert "status_reason" not in body
        assert NANOSECONDS.fullmatch(body["finished_at"])
        assert body["finished_at"] > body["started_at"]

    def test_failed_has_a_reason_without_the_raw_message(self, client, invoke):
        body = client.get(f"/invocations/{invoke('fail', {'message': 'secret'}).json()['id']}").json()
        assert body["status"] == "failed"
        assert json.loads(body["output"]) == {"error": "secret"}
        assert body["status_reason"]
        assert "secret" not in body["status_reason"]

    def test_unknown_is_a_404(self, client):
        answer = client.get("/invocations/nosuch")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


class TestUpdate:
    @pytest.mark.parametrize("status", ["succeeded", "failed"])
    def test_ends_the_run_with_the_output(self, kernel, client, running, status):
        invocation_id = running()
        output = json.dumps({"from": "outside"})
        answer = client.patch(f"/invocations/{invocation_id}", json={"status": status, "output": output})
        assert answer.status_code == 200
        assert answer.json() == client.get(f"/invocations/{invocation_id}").json()
        assert (answer.json()["status"], answer.json()["output"]) == (status, output)
        assert ("status_reason" in answer.json()) == (status == "failed")
        assert kernel.invocation(invocation_id).statuses == ("queued", "running", status)

    def test_output_may_be_left_out(self, client, running):
        body = client.patch(f"/invocations/{running()}", json={"status": "succeeded"}).json()
        assert "output" not in body

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"output": "1"},
            {"status": "running"},
            {"status": "cancelled"},
            {"status": None},
            {"status": "failed", "output": {"error": "x"}},
            {"status": "failed", "output": None},
            {"status": "failed", "status_reason": "x"},
            [],
        ],
    )
    def test_anything_else_is_a_400_and_changes_nothing(self, kernel, client, running, body):
        invocation_id = running()
        answer = client.patch(f"/invocations/{invocation_id}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
        assert kernel.invocation(invocation_id).status == "running"

    def test_unknown_is_a_404(self, client):
        assert client.patch("/invocations/nosuch", json={"status": "failed"}).status_code == 404

    def test_the_runs_own_later_return_does_not_count(self, kernel, client, running):
        returned = threading.Event()

        @kernel.action("own", "gated")
        def gated(ctx):
            ctx.wait()
            returned.set()
            return "own result"

        invocation_id = running("gated", app="own")
        client.patch(f"/invocations/{invocation_id}", json={"status": "succeeded", "output": '"patched"'})
        assert returned.wait(5)
        assert kernel.invocation(invocation_id).output_json == "patched"


class TestBrowsers:
    def test_lists_the_open_ones_with_the_documented_fields(self, kernel, client, running):
        kernel.register("own", "two", lambda ctx: (ctx.create_browser(), ctx.create_browser(True), ctx.wait()))
        invocation_id = running("two", app="own")
        kernel.wait_until(lambda: kernel.invocation(invocation_id).browsers == 2)
        headful, headless = client.get(f"/invocations/{invocation_id}/browsers").json()["browsers"]
        required = {"session_id", "created_at", "cdp_ws_url", "webdriver_ws_url", "headless", "stealth"}
        assert required | {"timeout_seconds", "browser_live_view_url"} <= set(headful)
        assert (headful["headless"], headless["headless"]) == (False, True)
        # Not in Kernel's description yet, but its SDK requires them.
        assert (headful["region"], headful["memory"]) == ("us-east", "8GiB")
        assert "browser_live_view_url" not in headless

    def test_delete_ends_them_and_leaves_the_status(self, kernel, client, running):
        invocation_id = running("browsers", {"count": 3, "seconds": 3600})
        kernel.wait_until(lambda: kernel.invocation(invocation_id).browsers == 3)
        answer = client.delete(f"/invocations/{invocation_id}/browsers")
        assert (answer.status_code, answer.content) == (204, b"")
        assert client.get(f"/invocations/{invocation_id}/browsers").json() == {"browsers": []}
        record = kernel.invocation(invocation_id)
        assert (record.status, record.browsers, record.browsers_opened) == ("running", 0, 3)

    def test_unknown_is_a_404(self, client):
        assert client.get("/invocations/nosuch/browsers").status_code == 404
        assert client.delete("/invocations/nosuch/browsers").status_code == 404


class TestList:
    @pytest.fixture
    def made(self, kernel, invoke, running):
        kernel.register("other", "work", lambda ctx: None, version="2.0")
        return {
            "echo": invoke("echo", 1).json()["id"],
            "fail": invoke("fail").json()["id"],
            "hang": running(),
            "work": invoke("work", app="other", version="2.0").json()["id"],
        }

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({}, ["work", "hang", "fail", "echo"]),
            ({"app_name": "demo"}, ["hang", "fail", "echo"]),
            ({"version": "2.0"}, ["work"]),
            ({"action_name": "hang"}, ["hang"]),
            ({"status": "running"}, ["hang"]),
            ({"status": "failed"}, ["fail"]),
            ({"status": "succeeded", "app_name": "demo"}, ["echo"]),
            ({"query": "OTHE"}, ["work"]),
            ({"query": "echo"}, ["echo"]),
            ({"app_name": "dem"}, []),
            ({"since": "5m"}, ["work", "hang", "fail", "echo"]),
            ({"since": "2999-01-01T00:00:00Z"}, []),
        ],
    )
    def test_filters(self, client, made, query, found):
        answer = client.get("/invocations", params=query)
        assert [row["id"] for row in answer.json()] == [made[name] for name in found]

    def test_filters_by_deployment_and_by_id(self, kernel, client, made):
        deployment = kernel.invocation(made["work"]).deployment_id
        rows = client.get("/invocations", params={"deployment_id": deployment}).json()
        assert [row["id"] for row in rows] == [made["work"]]
        rows = client.get("/invocations", params={"query": made["fail"]}).json()
        assert [row["id"] for row in rows] == [made["fail"]]

    @pytest.mark.parametrize(("inclusive", "found"), [(True, ["fail", "hang", "work"]), (False, ["hang", "work"])])
    def test_since_to_the_nanosecond(self, kernel, client, made, inclusive, found):
        kernel.switches.since_inclusive = inclusive
        kernel.switches.list_order = "oldest"
        rows = client.get("/invocations", params={"since": kernel.invocation(made["fail"]).started_at}).json()
        assert [row["id"] for row in rows] == [made[name] for name in found]

    def test_a_row_is_the_whole_invocation(self, client, made):
        row = client.get("/invocations", params={"query": made["fail"]}).json()[0]
        assert row == client.get(f"/invocations/{made['fail']}").json()

    @pytest.mark.parametrize("query", [{"status": "done"}, {"since": "yesterday"}, {"since": "5 m"}])
    def test_refuses_a_filter_that_cannot_be_read(self, client, query):
        assert client.get("/invocations", params=query).status_code == 400


class TestPaging:
    def test_walks_all_pages_by_the_headers(self, client, invoke):
        ids = [invoke("echo", number).json()["id"] for number in range(5)]
        seen, headers = [], []
        offset = 0
        while True:
            answer = client.get("/invocations", params={"limit": 2, "offset": offset})
            seen += [row["id"] for row in answer.json()]
            names = ("X-Limit", "X-Offset", "X-Has-More", "X-Next-Offset")
            headers.append(tuple(answer.headers[name] for name in names))
            offset = int(answer.headers["X-Next-Offset"])
            if not offset:
                break
        assert seen == ids[::-1]
        assert headers == [("2", "0", "true", "2"), ("2", "2", "true", "4"), ("2", "4", "false", "0")]

    def test_the_page_that_ends_exactly_is_the_last(self, client, invoke):
        for number in range(2):
            invoke("echo", number)
        assert client.get("/invocations", params={"limit": 2}).headers["X-Has-More"] == "false"

    def test_twenty_unless_told(self, client):
        assert client.get("/invocations").headers["X-Limit"] == "20"

    @pytest.mark.parametrize("path", ["/invocations", "/apps"])
    @pytest.mark.parametrize(
        "query", [{"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"limit": "-1"}, {"offset": "-1"}]
    )
    def test_refuses_what_is_out_of_bounds(self, client, path, query):
        assert client.get(path, params=query).status_code == 400

    @pytest.mark.parametrize("limit", ["1", "100"])
    def test_takes_the_bounds(self, client, limit):
        assert client.get("/apps", params={"limit": limit}).status_code == 200


class TestApps:
    def test_one_row_for_each_version(self, kernel, client):
        kernel.register("own", "a", lambda ctx: None, version="1")
        kernel.register("own", "b", lambda ctx: None, version="1")
        kernel.register("own", "a", lambda ctx: None, version="2")
        rows = client.get("/apps", params={"app_name": "own"}).json()
        assert [(row["version"], [a["name"] for a in row["actions"]]) for row in rows] == [
            ("1", ["a", "b"]),
            ("2", ["a"]),
        ]
        assert rows[0]["deployment"] != rows[1]["deployment"]
        keys = {"id", "app_name", "version", "region", "deployment", "actions", "env_vars"}
        assert set(rows[0]) == keys
        assert len(client.get("/apps", params={"app_name": "own", "version": "2"}).json()) == 1

    def test_the_demo_app(self, client):
        (row,) = client.get("/apps", params={"query": "DEM"}).json()
        names = [action["name"] for action in row["actions"]]
        assert names == ["echo", "sleep", "fail", "logs", "browsers", "hang"]

    def test_an_unknown_app_is_an_empty_array(self, client):
        assert client.get("/apps", params={"app_name": "x"}).json() == []


class TestAuth:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", "/invocations"),
            ("GET", "/invocations"),
            ("GET", "/invocations/x"),
            ("PATCH", "/invocations/x"),
            ("GET", "/invocations/x/browsers"),
            ("DELETE", "/invocations/x/browsers"),
            ("GET", "/invocations/x/events"),
            ("GET", "/apps"),
            ("GET", "/auth/context"),
        ],
    )
    @pytest.mark.parametrize("value", ["", "Bearer wrong", "Basic sk-emulator", "sk-emulator", "Bearer"])
    def test_no_good_key_is_a_401(self, client, method, path, value):
        answer = client.request(method, path, headers={"Authorization": value})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")

    def test_context_of_an_org_wide_key(self, client):
        body = client.get("/auth/context").json()
        assert body["authentication"]["method"] == "api_key"
        assert body["principal"]["id"] == body["authentication"]["credential_id"]
        assert body["organization"]["id"]
        assert body["authorization"] == {
            "credential_scope": {"project_id": None},
            "effective_scope": {"project_id": "proj_default"},
        }

    def test_context_of_a_project_key(self, kernel, client):
        project = kernel.add_project("team")
        kernel.add_key("sk-team", project="team")
        body = client.get("/auth/context", headers={"Authorization": "Bearer sk-team"}).json()
        scope = {"project_id": project.id}
        assert body["authorization"] == {"credential_scope": scope, "effective_scope": scope}


class TestProjects:
    @pytest.fixture(autouse=True)
    def team(self, kernel):
        kernel.add_key("sk-default", project="default")
        return kernel.add_project("team", "proj_team")

    @pytest.mark.parametrize(
        "headers",
        [
            {"X-Kernel-Project": "team"},
            {"X-Kernel-Project": "proj_team"},
            {"X-Kernel-Project-Id": "proj_team"},
        ],
    )
    def test_an_invocation_is_seen_in_its_own_project_only(self, kernel, client, invoke, headers):
        invocation_id = invoke("hang", wait=False, headers=headers).json()["id"]
        path = f"/invocations/{invocation_id}"
        assert client.get(path, headers=headers).status_code == 200
        assert len(client.get("/invocations", headers=headers).json()) == 1
        assert client.get("/invocations").json() == []
        for method, where in (
            ("GET", path),
            ("PATCH", path),
            ("GET", f"{path}/browsers"),
            ("DELETE", f"{path}/browsers"),
            ("GET", f"{path}/events"),
        ):
            answer = client.request(method, where)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), (method, where)

    def test_the_default_project_may_be_named(self, client, invoke):
        invocation_id = invoke("echo", 1).json()["id"]
        headers = {"X-Kernel-Project": "default"}
        assert client.get(f"/invocations/{invocation_id}", headers=headers).status_code == 200

    @pytest.mark.parametrize(
        "headers",
        [
            {"X-Kernel-Project": "nosuch"},
            {"X-Kernel-Project-Id": "nosuch"},
            {"X-Kernel-Project-Id": "team"},  # a name, where only an ID goes
        ],
    )
    def test_an_unknown_project_is_a_404(self, client, headers):
        answer = client.get("/invocations", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (404, "project_not_found")

    def test_a_project_key_with_another_project_is_a_403(self, client):
        headers = {"Authorization": "Bearer sk-default", "X-Kernel-Project": "team"}
        answer = client.get("/invocations", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")

    def test_two_headers_must_agree(self, client):
        headers = {"X-Kernel-Project": "team", "X-Kernel-Project-Id": "proj_default"}
        assert client.get("/invocations", headers=headers).status_code == 400

    def test_a_key_for_an_unknown_project_is_refused_at_once(self, kernel):
        with pytest.raises(ValueError, match=r"nosuch.*default \(proj_default\).*add_project"):
            kernel.add_key("sk", project="nosuch")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("DELETE", "/invocations/x", 405), ("PUT", "/apps", 405)],
)
def test_other_routes_answer_with_an_error_body(client, method, path, status):
    answer = client.request(method, path)
    assert answer.status_code == status
    assert {"code", "message"} <= set(answer.json())


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/invocations", "GET, HEAD, POST"),
        ("/invocations/x", "GET, HEAD, PATCH"),
        ("/invocations/x/browsers", "DELETE, GET, HEAD"),
        ("/apps", "GET, HEAD"),
    ],
)
def test_a_method_that_a_path_does_not_have_is_refused_with_those_that_it_has(client, path, allowed):
    answer = client.put(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
