from __future__ import annotations

import pytest


class TestPaging:
    def test_page_headers_lead_through_all_pages(self, client, invoke):
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

    def test_page_that_ends_with_the_list_is_the_last(self, client, invoke):
        for number in range(2):
            invoke("echo", number)
        assert client.get("/invocations", params={"limit": 2}).headers["X-Has-More"] == "false"

    def test_page_has_twenty_rows_by_default(self, client):
        assert client.get("/invocations").headers["X-Limit"] == "20"

    @pytest.mark.parametrize("path", ["/invocations", "/apps"])
    @pytest.mark.parametrize(
        "query",
        [
            {"limit": "0"},
            {"limit": "101"},
            {"limit": "x"},
            {"limit": "-1"},
            {"offset": "-1"},
            {"limit": "1" * 5000},
        ],
        ids=lambda query: str(query)[:20],
    )
    def test_paging_refuses_values_out_of_bounds(self, client, path, query):
        assert client.get(path, params=query).status_code == 400

    @pytest.mark.parametrize("path", ["/invocations", "/apps"])
    @pytest.mark.parametrize("offset", [str(10**18 + 1), "1" * 5000], ids=["beyond 64 bits", "beyond int()"])
    def test_offset_beyond_every_list_gives_an_empty_page(self, client, path, offset):
        answer = client.get(path, params={"offset": offset})
        assert (answer.status_code, answer.json(), answer.headers["X-Has-More"]) == (200, [], "false")

    @pytest.mark.parametrize("limit", ["1", "100"])
    def test_paging_accepts_values_at_the_bounds(self, client, limit):
        assert client.get("/apps", params={"limit": limit}).status_code == 200


@pytest.mark.parametrize("since", ["9" * 400 + "h", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-23:59"])
def test_since_out_of_range_is_refused(client, since):
    answer = client.get("/invocations", params={"since": since})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
