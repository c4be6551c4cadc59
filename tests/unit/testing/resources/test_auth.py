from __future__ import annotations

import pytest


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
    def test_request_without_a_valid_key_is_a_401(self, client, method, path, value):
        answer = client.request(method, path, headers={"Authorization": value})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")

    def test_auth_context_of_an_org_wide_key(self, client):
        body = client.get("/auth/context").json()
        assert body["authentication"]["method"] == "api_key"
        assert body["principal"]["id"] == body["authentication"]["credential_id"]
        assert body["organization"]["id"]
        assert body["authorization"] == {
            "credential_scope": {"project_id": None},
            "effective_scope": {"project_id": "proj_default"},
        }

    def test_auth_context_of_a_project_key(self, kernel, client):
        project = kernel.add_project("team")
        kernel.add_key("sk-team", project="team")
        body = client.get("/auth/context", headers={"Authorization": "Bearer sk-team"}).json()
        scope = {"project_id": project.id}
        assert body["authorization"] == {"credential_scope": scope, "effective_scope": scope}
