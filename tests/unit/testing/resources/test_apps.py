from __future__ import annotations


class TestApps:
    def test_apps_have_a_row_for_each_version(self, kernel, client):
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

    def test_apps_include_the_demo_app(self, client):
        (row,) = client.get("/apps", params={"query": "DEM"}).json()
        names = [action["name"] for action in row["actions"]]
        assert names == ["echo", "sleep", "fail", "logs", "browsers", "hang"]

    def test_apps_of_an_unknown_name_are_an_empty_list(self, client):
        assert client.get("/apps", params={"app_name": "x"}).json() == []
