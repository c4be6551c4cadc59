from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("DELETE", "/invocations/x", 405), ("PUT", "/apps", 405)],
)
def test_unknown_routes_answer_with_an_error_body(client, method, path, status):
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
def test_unknown_method_is_a_405_with_the_allowed_ones(client, path, allowed):
    answer = client.put(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
