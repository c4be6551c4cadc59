from __future__ import annotations

import re

import pytest

from airflow_provider_kernel.testing.resources.browsers import Browsers


class TestCreate:
    def test_browser_of_an_empty_body_is_headful_and_idles_out_after_a_minute(self, client):
        created = client.post("/browsers", json={}).json()
        assert (created["headless"], created["stealth"], created["timeout_seconds"]) == (False, False, 60)
        assert (created["memory"], created["region"]) == ("8GiB", "us-east")
        assert not {"name", "tags", "profile", "deleted_at", "usage"} & created.keys()

    def test_browser_needs_no_body(self, client):
        assert client.post("/browsers").status_code == 200

    def test_headless_browser_has_no_live_view(self, client, create):
        assert "browser_live_view_url" not in create()
        assert "?jwt=" in create(headless=False)["browser_live_view_url"]

    def test_addresses_hold_a_secret_of_the_browser_alone(self, kernel, create):
        first, second = create(), create()
        tokens = {re.search("jwt=(.+)", browser["cdp_ws_url"])[1] for browser in (first, second)}
        assert tokens == {record.token for record in kernel.browsers}
        assert len(tokens) == 2
        assert first["webdriver_ws_url"].partition("jwt=")[2] in tokens
        assert first["cdp_ws_url"].startswith(f"ws://127.0.0.1:{kernel.port}/")

    def test_snapshot_shows_no_secret(self, kernel, create):
        create()
        assert kernel.browsers[0].token not in repr(kernel.browsers)

    def test_browser_shows_what_it_was_made_with(self, kernel, create):
        options = {
            "name": "prices-1",
            "tags": {"airflow_dag": "prices", "airflow_run": "manual__2026-01-01T00:00:00+00:00"},
            "viewport": {"width": 1280, "height": 720},
            "start_url": "https://example.com",
            "network": {"allowed_hosts": ["*.example.com"]},
            "region": "eu-west",
            "timeout_seconds": 300,
            "proxy": {"mode": "direct"},
        }
        created = create(**options)
        assert {name: created[name] for name in options} == options
        (record,) = kernel.browsers
        assert record.options == {"headless": True, **options}
        assert (record.name, record.tags, record.is_active) == ("prices-1", options["tags"], True)

    def test_profile_is_shown_by_name_and_id(self, create):
        first = create(profile={"name": "shop", "save_changes": True})
        second = create(profile={"id": first["profile"]["id"]})
        assert first["profile"]["name"] == second["profile"]["name"] == "shop"
        assert (first["profile_save_changes"], second["profile_save_changes"]) == (True, False)

    @pytest.mark.parametrize(
        "body",
        [
            {"timeout_seconds": 9},
            {"timeout_seconds": 259_201},
            {"name": "with space"},
            {"name": ""},
            {"tags": {"a": 1}},
            {"tags": {"a[0]": "x"}},
            {"tags": {"a": "x,y"}},
            {"tags": {str(number): "" for number in range(51)}},
            {"headless": "yes"},
            {"profile": {}},
            {"profile": {"id": "1", "name": "a"}},
            {"proxy": {"mode": "direct", "id": "1"}},
            {"proxy": {"mode": "direct"}, "proxy_id": "1"},
            {"viewport": {"width": 100}},
            {"region": "mars"},
            {"network": {"allowed_hosts": []}},
            {"extensions": [{}] * 21},
            {"invocation_id": "nobody"},
            {"headles": True},
        ],
        ids=str,
    )
    def test_invalid_body_is_a_400(self, kernel, client, body):
        answer = client.post("/browsers", json=body)
        assert answer.status_code == 400
        assert answer.json()["code"] == ("invalid_tags" if "tags" in body else "bad_request")
        assert kernel.browsers == ()

    def test_browser_without_a_valid_key_is_a_401(self, client):
        assert client.post("/browsers", headers={"Authorization": "Bearer wrong"}).status_code == 401


class TestNames:
    def test_name_is_taken_while_its_browser_is_active(self, client, create):
        first = create(name="one")
        answer = client.post("/browsers", json={"name": "one"})
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        client.delete(f"/browsers/{first['session_id']}")
        assert create(name="one")["session_id"] != first["session_id"]

    def test_name_leads_to_the_active_browser_only(self, client, create):
        first = create(name="one")
        assert client.get("/browsers/one").json() == first
        client.delete("/browsers/one")
        assert client.get("/browsers/one").status_code == 404
        assert client.get("/browsers/one", params={"include_deleted": "true"}).status_code == 404
        second = create(name="one")
        assert client.get("/browsers/one").json() == second

    def test_projects_have_names_of_their_own(self, kernel, client, create):
        kernel.add_project("other")
        create(name="one")
        other = {"X-Kernel-Project": "other"}
        assert client.get("/browsers/one", headers=other).status_code == 404
        assert client.post("/browsers", json={"name": "one"}, headers=other).status_code == 200

    def test_name_may_be_free_late(self, kernel, client, create):
        kernel.switches.browser_name_free_after = 3600
        create(name="one")
        client.delete("/browsers/one")
        assert client.get("/browsers/one").status_code == 404
        assert client.post("/browsers", json={"name": "one"}).status_code == 409
        kernel.time_scale = 1e9
        create(name="one")


class TestList:
    @pytest.fixture
    def names(self, client):
        def names(**params):
            answer = client.get("/browsers", params=params)
            assert answer.status_code == 200, answer.text
            return [browser["name"] for browser in answer.json()]

        return names

    def test_list_has_active_browsers_newest_first(self, client, create, names):
        for name in ("a", "b", "c"):
            create(name=name)
        client.delete("/browsers/b")
        assert names() == ["c", "a"]
        assert names(status="deleted") == ["b"]
        assert names(status="all") == names(include_deleted="true") == ["c", "b", "a"]

    def test_list_filters_by_every_tag_exactly(self, create, names):
        create(name="a", tags={"dag": "prices", "run": "1"})
        create(name="b", tags={"dag": "prices", "run": "2"})
        create(name="c", tags={"dag": "price"})
        assert names(**{"tags[dag]": "prices"}) == ["b", "a"]
        assert names(**{"tags[dag]": "prices", "tags[run]": "1"}) == ["a"]
        assert names(**{"tags[other]": ""}) == []

    def test_list_searches_names_ids_and_profiles(self, create, names):
        create(name="alpha", profile={"name": "shop"})
        create(name="beta", proxy={"id": "proxy-7"})
        assert names(query="LPH") == ["alpha"]
        assert names(query="sho") == ["alpha"]
        assert names(query="proxy-7") == ["beta"]

    def test_list_has_pages(self, client, create):
        for _ in range(3):
            create()
        answer = client.get("/browsers", params={"limit": 2})
        assert len(answer.json()) == 2
        assert (answer.headers["x-has-more"], answer.headers["x-next-offset"]) == ("true", "2")

    def test_list_keeps_to_a_project(self, kernel, client, create, names):
        kernel.add_project("other")
        create(name="a")
        assert client.get("/browsers", headers={"X-Kernel-Project": "other"}).json() == []

    def test_list_may_be_behind(self, kernel, client, create, names):
        create(name="a")
        kernel.switches.browser_list_lag = 3600
        assert names() == []
        assert client.get("/browsers/a").status_code == 200
        kernel.switches.browser_list_lag = 0
        assert names() == ["a"]

    @pytest.mark.parametrize(
        "params", [{"status": "gone"}, {"region": "mars"}, {"limit": 0}, {"include_deleted": "1"}, {"tags": "a"}]
    )
    def test_invalid_filter_is_a_400(self, client, params):
        assert client.get("/browsers", params=params).status_code == 400


class TestUpdate:
    def test_update_replaces_name_and_tags(self, client, create):
        session = create(name="a", tags={"x": "1", "y": "2"})["session_id"]
        updated = client.patch(f"/browsers/{session}", json={"name": "b", "tags": {"z": "3"}}).json()
        assert (updated["name"], updated["tags"]) == ("b", {"z": "3"})
        cleared = client.patch("/browsers/b", json={"name": "", "tags": {}}).json()
        assert not {"name", "tags"} & cleared.keys()

    def test_update_refuses_a_name_that_is_taken(self, client, create):
        create(name="a")
        create(name="b")
        assert client.patch("/browsers/b", json={"name": "a"}).status_code == 409
        assert client.patch("/browsers/b", json={"name": "b"}).status_code == 200

    @pytest.mark.parametrize("body", [{"timeout_seconds": 60}, {"name": "a b"}, {"viewport": {}}])
    def test_invalid_update_is_a_400(self, client, create, body):
        assert client.patch(f"/browsers/{create()['session_id']}", json=body).status_code == 400

    def test_profile_is_loaded_once(self, client, create):
        session = create()["session_id"]
        assert client.patch(f"/browsers/{session}", json={"profile": {"name": "a"}}).status_code == 200
        assert client.patch(f"/browsers/{session}", json={"profile": {"name": "b"}}).status_code == 400


class TestEnd:
    def test_deleted_browser_is_shown_on_request_only(self, kernel, client, create):
        session = create()["session_id"]
        answer = client.delete(f"/browsers/{session}")
        assert (answer.status_code, answer.content) == (204, b"")
        gone = client.get(f"/browsers/{session}")
        assert (gone.status_code, gone.json()["code"]) == (404, "not_found")
        shown = client.get(f"/browsers/{session}", params={"include_deleted": "true"}).json()
        assert shown["deleted_at"]
        assert shown["usage_status"] == "ready"
        (record,) = kernel.browsers
        assert (record.end_cause, record.ended_at) == ("deleted", shown["deleted_at"])

    def test_second_delete_is_a_404(self, client, create):
        session = create()["session_id"]
        client.delete(f"/browsers/{session}")
        answer = client.delete(f"/browsers/{session}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")

    def test_unknown_project_has_a_code_of_its_own(self, client, create):
        session = create()["session_id"]
        answer = client.delete(f"/browsers/{session}", headers={"X-Kernel-Project": "nobody"})
        assert (answer.status_code, answer.json()["code"]) == (404, "project_not_found")

    def test_idle_browser_ends_5_seconds_after_its_limit(self, kernel, client, create):
        kernel.time_scale = 1000.0
        session = create(timeout_seconds=60)["session_id"]
        kernel.wait_until(lambda: not kernel.browsers[0].is_active)
        (record,) = kernel.browsers
        assert record.end_cause == "idle"
        # It was awake for the 5 s after which a browser that nobody uses falls asleep.
        assert record.uptime_ms == pytest.approx(5000, abs=1)
        shown = client.get(f"/browsers/{session}", params={"include_deleted": "true"}).json()
        assert shown["usage"] == {"uptime_ms": record.uptime_ms}

    def test_idle_browser_ends_by_a_clock_that_is_set_later(self, kernel, create):
        create(timeout_seconds=259_200)
        assert kernel.browsers[0].is_active
        kernel.time_scale = 1e9
        kernel.wait_until(lambda: kernel.browsers[0].end_cause == "idle")

    def test_usage_may_be_final_late(self, kernel, client, create):
        kernel.switches.browser_usage_after = 3600
        session = create()["session_id"]
        client.delete(f"/browsers/{session}")
        shown = client.get("/browsers", params={"status": "deleted"}).json()
        assert [browser["usage_status"] for browser in shown] == ["pending"]
        kernel.time_scale = 1e9
        shown = client.get(f"/browsers/{session}", params={"include_deleted": "true"}).json()
        assert shown["usage_status"] == "ready"

    def test_delete_answers_when_the_profile_is_saved(self, kernel, client, create):
        kernel.time_scale = 1000.0
        kernel.switches.profile_save_seconds = 10
        create(name="a", timeout_seconds=3600, profile={"name": "shop", "save_changes": True})
        assert client.delete("/browsers/a").elapsed.total_seconds() >= 0.01
        assert [record.profile_saved for record in kernel.browsers] == [True]

    def test_name_is_taken_while_the_profile_is_being_saved(self, kernel, client, create):
        kernel.switches.profile_save_seconds = 3600
        session = create(name="a", profile={"name": "shop", "save_changes": True})["session_id"]
        kernel.room(Browsers).end(session)
        assert client.get("/browsers/a").status_code == 404
        assert client.post("/browsers", json={"name": "a"}).status_code == 409
        assert client.get("/org/limits").json()["concurrent_sessions_used"] == 1

    def test_reset_forgets_browsers(self, kernel, client, create):
        session = create()["session_id"]
        kernel.reset()
        assert kernel.browsers == ()
        assert client.get(f"/browsers/{session}", params={"include_deleted": "true"}).status_code == 404

    def test_browsers_outlive_a_stop(self, kernel, client, create):
        session = create()["session_id"]
        kernel.stop()
        kernel.start()
        assert client.get(f"/browsers/{session}").status_code == 200
