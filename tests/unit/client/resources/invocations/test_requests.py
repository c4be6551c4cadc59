from __future__ import annotations

import json
import logging
import math
from datetime import date, datetime, timedelta, timezone

import pytest

from airflow_provider_kernel.client.errors import KernelInputError, KernelResponseError
from airflow_provider_kernel.client.http.pagination import Page, next_page
from airflow_provider_kernel.client.http.response import Response
from airflow_provider_kernel.client.resources.apps import list_apps
from airflow_provider_kernel.client.resources.auth import get_auth_context
from airflow_provider_kernel.client.resources.invocations import requests
from airflow_provider_kernel.client.resources.invocations.status import InvocationStatus
from airflow_provider_kernel.client.retry import Resend
from airflow_provider_kernel.client.unset import UNSET

INVOCATION = {"id": "abc", "status": "queued"}
CREATE = b'{"app_name": "shop", "action_name": "buy", "version": "latest", "async": true}'


def ok(document, **headers):
    return Response(200, headers, json.dumps(document).encode())


class TestOnTheWire:
    """Method, path, query and body of every request, and whether it may be sent again."""

    @pytest.mark.parametrize(
        ("request_", "method", "path", "query", "body", "resend"),
        [
            pytest.param(
                requests.create_invocation("shop", "buy"),
                "POST",
                "/invocations",
                (),
                CREATE,
                Resend.IF_REFUSED,
                id="create",
            ),
            pytest.param(
                requests.create_invocation(
                    "shop", "buy", payload={"a": 1}, version="v2", async_timeout_seconds=3600
                ),
                "POST",
                "/invocations",
                (),
                b'{"app_name": "shop", "action_name": "buy", "version": "v2", "async": true, '
                b'"payload": "{\\"a\\": 1}", "async_timeout_seconds": 3600}',
                Resend.IF_REFUSED,
                id="create with everything",
            ),
            pytest.param(
                requests.get_invocation("abc"), "GET", "/invocations/abc", (), None, Resend.ALWAYS, id="get"
            ),
            pytest.param(
                requests.update_invocation("abc", "succeeded", {"a": 1}),
                "PATCH",
                "/invocations/abc",
                (),
                b'{"status": "succeeded", "output": "{\\"a\\": 1}"}',
                Resend.ALWAYS,
                id="update",
            ),
            pytest.param(
                requests.update_invocation("abc", InvocationStatus.FAILED),
                "PATCH",
                "/invocations/abc",
                (),
                b'{"status": "failed"}',
                Resend.ALWAYS,
                id="update without output",
            ),
            pytest.param(
                requests.list_invocations(),
                "GET",
                "/invocations",
                (("limit", "100"), ("offset", "0")),
                None,
                Resend.ALWAYS,
                id="list",
            ),
            pytest.param(
                requests.list_invocations(
                    app_name="shop",
                    version="v2",
                    action_name="buy",
                    deployment_id="d1",
                    status=InvocationStatus.RUNNING,
                    since="5m",
                    query="ab c&d",
                    limit=1,
                    offset=7,
                ),
                "GET",
                "/invocations",
                (
                    ("app_name", "shop"),
                    ("version", "v2"),
                    ("action_name", "buy"),
                    ("deployment_id", "d1"),
                    ("status", "running"),
                    ("since", "5m"),
                    ("query", "ab c&d"),
                    ("limit", "1"),
                    ("offset", "7"),
                ),
                None,
                Resend.ALWAYS,
                id="list with everything",
            ),
            pytest.param(
                requests.list_invocation_browsers("abc"),
                "GET",
                "/invocations/abc/browsers",
                (),
                None,
                Resend.ALWAYS,
                id="list browsers",
            ),
            pytest.param(
                requests.delete_invocation_browsers("abc"),
                "DELETE",
                "/invocations/abc/browsers",
                (),
                None,
                Resend.ALWAYS,
                id="delete browsers",
            ),
            pytest.param(
                list_apps(app_name="shop", version="v2", query="sh"),
                "GET",
                "/apps",
                (("app_name", "shop"), ("version", "v2"), ("query", "sh"), ("limit", "100"), ("offset", "0")),
                None,
                Resend.ALWAYS,
                id="list apps",
            ),
            pytest.param(get_auth_context(), "GET", "/auth/context", (), None, Resend.ALWAYS, id="auth context"),
        ],
    )
    def test_request_has_method_path_query_body_and_resend(self, request_, method, path, query, body, resend):
        assert (request_.method, request_.path, request_.query, request_.body, request_.resend) == (
            method,
            path,
            query,
            body,
            resend,
        )

    def test_text_of_a_request_is_method_and_path(self):
        assert str(requests.update_invocation("abc", "failed", "secret")) == "PATCH /invocations/abc"


class TestAnswers:
    """Each request parses its own kind of answer."""

    @pytest.mark.parametrize(
        "request_",
        [
            requests.create_invocation("shop", "buy"),
            requests.get_invocation("abc"),
            requests.update_invocation("abc", "failed"),
        ],
        ids=str,
    )
    def test_answer_with_one_invocation_is_parsed(self, request_):
        assert request_.receive(ok(INVOCATION)).id == "abc"

    def test_answer_with_a_page_of_invocations_is_parsed(self):
        page = requests.list_invocations().receive(ok([INVOCATION], **{"x-has-more": "true", "x-next-offset": "1"}))
        assert [row.id for row in page.items] == ["abc"]
        assert page.next_offset == 1

    def test_answer_with_browsers_is_parsed(self):
        browsers = requests.list_invocation_browsers("abc").receive(ok({"browsers": [{"session_id": "s1"}]}))
        assert [browser.session_id for browser in browsers] == ["s1"]

    def test_answer_to_a_delete_of_browsers_is_none(self):
        assert requests.delete_invocation_browsers("abc").receive(Response(204, {}, b"")) is None

    def test_answer_with_a_page_of_apps_is_parsed(self):
        page = list_apps().receive(ok([{"id": "1", "app_name": "shop", "version": "v2"}]))
        assert [app.app_name for app in page.items] == ["shop"]
        assert page.next_offset is None

    def test_answer_with_an_auth_context_is_parsed(self):
        assert get_auth_context().receive(ok({"organization": {"id": "org_1"}})).organization.id == "org_1"


class TestOutput:
    """A Python value in, a JSON *string* within the body's JSON out."""

    @pytest.mark.parametrize(
        ("output", "text"),
        [
            ({"a": 1}, '{"a": 1}'),
            ([], "[]"),
            ("x", '"x"'),
            ('{"a": 1}', '"{\\"a\\": 1}"'),
            (0, "0"),
            (False, "false"),
            (None, "null"),
            ({"käse": [{"emoji": "🧀"}, "\u2028"]}, '{"käse": [{"emoji": "🧀"}, "\u2028"]}'),
        ],
        ids=repr,
    )
    def test_output_is_sent_as_json_text(self, output, text):
        body = requests.update_invocation("abc", "succeeded", output).body
        assert json.loads(body) == {"status": "succeeded", "output": text}
        assert body.isascii()

    @pytest.mark.parametrize(
        "request_",
        [requests.update_invocation("abc", "succeeded"), requests.update_invocation("abc", "succeeded", UNSET)],
        ids=["left out", "UNSET"],
    )
    def test_output_that_is_left_out_is_not_sent(self, request_):
        assert request_.body == b'{"status": "succeeded"}'

    @pytest.mark.parametrize(
        ("output", "says"),
        [
            (math.nan, "output cannot be written as JSON: nan"),
            ({"a": [0, 1, math.inf]}, "output['a'][2] cannot be written as JSON: inf"),
            ({"a": [0, 1, object()]}, "output['a'][2] cannot be written as JSON: a value of type object"),
        ],
        ids=["NaN", "infinity", "object"],
    )
    def test_output_that_json_cannot_hold_is_refused_with_the_place(self, output, says):
        with pytest.raises(KernelInputError) as raised:
            requests.update_invocation("abc", "succeeded", output)
        assert str(raised.value).startswith(says)

    @pytest.mark.parametrize(
        "status", ["queued", "running", "cancelled", "SUCCEEDED", "", None, InvocationStatus.RUNNING], ids=repr
    )
    def test_update_to_a_status_that_is_not_final_is_refused(self, status):
        with pytest.raises(KernelInputError) as raised:
            requests.update_invocation("abc", status)
        assert str(raised.value) == (
            f"status is {status!r}; an invocation can be set to 'succeeded' or 'failed' only"
        )


class TestPayload:
    @pytest.mark.parametrize(
        ("payload", "text"),
        [({"a": 1}, '{"a": 1}'), ("x", '"x"'), (None, "null"), ("", '""'), ({"ü": "😀"}, '{"ü": "😀"}')],
        ids=repr,
    )
    def test_payload_is_sent_as_json_text(self, payload, text):
        assert json.loads(requests.create_invocation("shop", "buy", payload=payload).body)["payload"] == text

    @pytest.mark.parametrize(
        ("payload", "says"),
        [
            ({"a": [0, 1, math.nan]}, "payload['a'][2] cannot be written as JSON: nan"),
            ({"a": [0, 1, {2}]}, "payload['a'][2] cannot be written as JSON: a value of type set"),
        ],
        ids=["NaN", "set"],
    )
    def test_payload_that_json_cannot_hold_is_refused_with_the_place(self, payload, says):
        with pytest.raises(KernelInputError) as raised:
            requests.create_invocation("shop", "buy", payload=payload)
        assert str(raised.value).startswith(says)

    @pytest.mark.parametrize(
        ("size", "warns"), [(64 * 1024, False), (64 * 1024 + 1, True), (4_500_000, True)], ids=str
    )
    def test_large_payload_is_sent_with_a_warning(self, size, warns, caplog):
        with caplog.at_level(logging.WARNING):
            request = requests.create_invocation("shop", "buy", payload="x" * (size - 2))
        assert len(json.loads(request.body)["payload"]) == size
        assert [f"The payload has {size} bytes" in record.getMessage() for record in caplog.records] == [
            True
        ] * warns

    def test_huge_payload_is_refused(self):
        with pytest.raises(
            KernelInputError, match=r"payload has 4,500,001 bytes .* at most 4,500,000\. Store"
        ) as raised:
            requests.create_invocation("shop", "buy", payload="x" * 4_499_999)
        assert len(str(raised.value)) < 200

    def test_size_of_a_payload_counts_bytes(self, caplog):
        requests.create_invocation("shop", "buy", payload="ä" * 32 * 1024)
        assert "The payload has 65538 bytes" in caplog.text

    def test_warning_about_a_large_payload_does_not_show_it(self, caplog):
        requests.create_invocation("shop", "buy", payload="hunter2" * 10_000)
        assert "The payload has" in caplog.text
        assert "hunter2" not in caplog.text


ENDPOINTS_OF_ONE = [
    requests.get_invocation,
    lambda invocation_id: requests.update_invocation(invocation_id, "failed"),
    requests.list_invocation_browsers,
    requests.delete_invocation_browsers,
]


class TestIds:
    """No id may change the path of a request."""

    @pytest.mark.parametrize(
        ("invocation_id", "says"),
        [
            ("", "it is empty"),
            ("  ", "it is empty"),
            ("\n", "it is empty"),
            ("None", "a template probably found no value: check the XCom or conf that it reads"),
            ("null", "a template probably found no value"),
            ("a/b", "it has a slash or is a path, not one id"),
            ("/", "it has a slash"),
            ("a\\b", "it has a slash"),
            (".", "is a path"),
            ("..", "is a path"),
            ("../apps", "is a path"),
            ("abc\n", "it has line breaks, control characters, or space at an end"),
            ("a\r\nb", "it has line breaks"),
            ("a\x00b", "it has line breaks, control characters"),
            ("a\x7fb", "it has line breaks, control characters"),
            ("a\ud800", "it has line breaks, control characters"),
            (" abc", "space at an end"),
            ("abc ", "space at an end"),
            (None, "it is of type NoneType, not text"),
            (5, "it is of type int, not text"),
            (b"abc", "it is of type bytes, not text"),
            (["abc"], "it is of type list, not text"),
        ],
        ids=ascii,
    )
    @pytest.mark.parametrize("build", ENDPOINTS_OF_ONE, ids=["get", "update", "list browsers", "delete browsers"])
    def test_invalid_id_is_refused_with_the_reason(self, build, invocation_id, says):
        with pytest.raises(KernelInputError) as raised:
            build(invocation_id)
        assert str(raised.value).startswith(f"invocation_id is {invocation_id!r}, which cannot be an id: ")
        assert says in str(raised.value)

    @pytest.mark.parametrize("invocation_id", ["x/" * 5000, {"x": "y" * 5000}], ids=["text", "dict"])
    def test_long_invalid_id_is_shown_in_part(self, invocation_id):
        with pytest.raises(KernelInputError) as raised:
            requests.get_invocation(invocation_id)
        assert "…, which cannot be an id" in str(raised.value)
        assert len(str(raised.value)) < 200

    @pytest.mark.parametrize(
        ("invocation_id", "path"),
        [
            ("rr33xuugxj9h0bkf1rdt2bet", "rr33xuugxj9h0bkf1rdt2bet"),
            ("a-b_c.d~e", "a-b_c.d~e"),
            ("a?b#c%", "a%3Fb%23c%25"),
            ("%2e%2e", "%252e%252e"),
            ("a b", "a%20b"),
            ("a..b", "a..b"),
            ("...", "..."),
            ("a&b=c;d:e@f+g", "a%26b%3Dc%3Bd%3Ae%40f%2Bg"),
            ("käse🧀", "k%C3%A4se%F0%9F%A7%80"),
            ("none", "none"),
        ],
    )
    def test_unusual_id_is_encoded_as_one_path_segment(self, invocation_id, path):
        assert requests.get_invocation(invocation_id).path == f"/invocations/{path}"
        assert requests.list_invocation_browsers(invocation_id).path == f"/invocations/{path}/browsers"


class TestNames:
    @pytest.mark.parametrize("value", ["", "  ", None, 5, ["shop"]], ids=repr)
    @pytest.mark.parametrize("which", ["app_name", "action_name", "version"])
    def test_argument_that_is_no_name_is_refused(self, which, value):
        arguments = {"app_name": "shop", "action_name": "buy", "version": "v1", which: value}
        with pytest.raises(KernelInputError) as raised:
            requests.create_invocation(**arguments)
        assert str(raised.value) == f"{which} is {value!r}; it must be a name, and not empty"


class TestAsyncTimeout:
    @pytest.mark.parametrize("seconds", [10, 900, 3600])
    def test_async_timeout_in_range_is_sent(self, seconds):
        request = requests.create_invocation("shop", "buy", async_timeout_seconds=seconds)
        assert json.loads(request.body)["async_timeout_seconds"] == seconds

    def test_async_timeout_that_is_left_out_is_not_sent(self):
        assert requests.create_invocation("shop", "buy", async_timeout_seconds=None).body == CREATE

    @pytest.mark.parametrize("seconds", [9, 3601, 0, -10, 60.0, "60", True, math.nan], ids=repr)
    def test_async_timeout_out_of_range_is_refused(self, seconds):
        with pytest.raises(KernelInputError) as raised:
            requests.create_invocation("shop", "buy", async_timeout_seconds=seconds)
        assert str(raised.value) == (
            f"async_timeout_seconds is {seconds!r}; Kernel takes whole seconds from 10 to 3600"
        )


class TestSince:
    @pytest.mark.parametrize(
        ("since", "sent"),
        [
            ("5m", "5m"),
            ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            (datetime(2026, 1, 1, 12, tzinfo=timezone.utc), "2026-01-01T12:00:00Z"),
            (datetime(2026, 1, 1, 12, 0, 0, 250, tzinfo=timezone.utc), "2026-01-01T12:00:00.000250Z"),
            (datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2))), "2025-12-31T23:00:00Z"),
        ],
        ids=str,
    )
    def test_since_is_sent(self, since, sent):
        assert dict(requests.list_invocations(since=since).query)["since"] == sent

    def test_since_without_a_time_zone_is_refused(self):
        with pytest.raises(KernelInputError, match=r"has no time zone; give an aware datetime"):
            requests.list_invocations(since=datetime(2026, 1, 1))


class TestPaging:
    @pytest.mark.parametrize("build", [requests.list_invocations, list_apps])
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ({"limit": 0}, "limit is 0; a page has 1 to 100 rows"),
            ({"limit": 101}, "limit is 101; a page has 1 to 100 rows"),
            ({"offset": -1}, "offset is -1; it counts from 0"),
        ],
        ids=repr,
    )
    def test_limit_or_offset_out_of_range_is_refused(self, build, arguments, says):
        with pytest.raises(KernelInputError) as raised:
            build(**arguments)
        assert str(raised.value) == says

    def test_next_page_is_the_same_request_from_its_offset(self):
        first = requests.list_invocations(app_name="shop", status="running", limit=50)
        second = next_page(first, Page(("row",), 50))
        assert str(second) == str(first)
        assert second.query == (("app_name", "shop"), ("status", "running"), ("limit", "50"), ("offset", "50"))
        assert second.parse is first.parse
        third = next_page(second, Page(("row",), 73))
        assert dict(third.query)["offset"] == "73"

    def test_last_page_has_no_next_page(self):
        assert next_page(list_apps(), Page((), None)) is None

    @pytest.mark.parametrize("offset", [100, 99, 1], ids=["repeated", "before", "far before"])
    def test_next_page_that_does_not_advance_is_refused(self, offset):
        request = list_apps(offset=100)
        with pytest.raises(KernelResponseError, match=f"the page after offset 100 starts at {offset}"):
            next_page(request, Page((), offset))

    def test_empty_page_that_is_not_the_last_is_refused(self):
        with pytest.raises(KernelResponseError, match="a page of the list is empty"):
            next_page(list_apps(), Page((), 100))


@pytest.mark.parametrize("name", ["None", "null"])
def test_name_from_a_template_without_a_value_is_refused(name):
    with pytest.raises(KernelInputError, match="a template probably found no value"):
        requests.create_invocation(name, "action")


@pytest.mark.parametrize("since", [date(2026, 1, 1), timedelta(minutes=5), 5])
def test_since_takes_a_time_or_text_only(since):
    with pytest.raises(KernelInputError, match="give an aware datetime"):
        requests.list_invocations(since=since)
