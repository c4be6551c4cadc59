from __future__ import annotations

import pytest


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
    def test_invocation_is_visible_in_its_own_project_only(self, kernel, client, invoke, headers):
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

    def test_default_project_may_be_named(self, client, invoke):
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
    def test_unknown_project_is_a_404(self, client, headers):
        answer = client.get("/invocations", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (404, "project_not_found")

    def test_project_key_with_another_project_is_a_403(self, client):
        headers = {"Authorization": "Bearer sk-default", "X-Kernel-Project": "team"}
        answer = client.get("/invocations", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")

    def test_project_headers_must_agree(self, client):
        headers = {"X-Kernel-Project": "team", "X-Kernel-Project-Id": "proj_default"}
        assert client.get("/invocations", headers=headers).status_code == 400

    def test_add_key_refuses_an_unknown_project(self, kernel):
        with pytest.raises(ValueError, match=r"nosuch.*default \(proj_default\).*add_project"):
            kernel.add_key("sk", project="nosuch")

    def test_replaced_key_is_refused_and_the_new_one_is_taken(self, kernel, client):
        old = kernel.api_key
        kernel.replace_key("sk-of-today")
        status = {
            key: client.get("/apps", headers={"Authorization": f"Bearer {key}"}).status_code
            for key in (old, "sk-of-today")
        }
        assert status == {old: 401, "sk-of-today": 200}
        assert "sk-of-today" in kernel.airflow_connection
