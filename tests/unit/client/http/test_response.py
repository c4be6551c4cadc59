from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.http.pagination import page_of
from airflow_provider_kernel.client.http.response import (
    Response,
    error_from,
    json_of,
    nothing,
    parse_retry_after,
    read,
)
from airflow_provider_kernel.client.resources.apps import AppVersion
from airflow_provider_kernel.client.resources.auth import AuthContext
from airflow_provider_kernel.client.resources.invocations.browser_models import BrowserList
from airflow_provider_kernel.client.resources.invocations.models import Invocation

API_ERROR = {
    "code": "bad_request",
    "message": "version is required",
    "details": [{"code": "missing", "message": "version"}, {"message": "see the docs"}, {"code": "E1"}],
    "inner_error": {"code": "invalid_input", "message": "no version"},
}

DOCUMENT = '{"id": "abc", "status": "failed", "status_reason": "caf\xe9"}'.encode()
ROWS = [{"id": "a", "status": "queued"}, {"id": "b", "status": "running"}]


def answer(status, body=b"", **headers):
    if not isinstance(body, bytes):
        body = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return Response(status, headers, body)


class TestErrorClass:
    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (400, errors.KernelBadRequestError),
            (401, errors.KernelAuthenticationError),
            (402, errors.KernelAPIError),
            (403, errors.KernelPermissionError),
            (404, errors.KernelNotFoundError),
            (405, errors.KernelAPIError),
            (408, errors.KernelAPIError),
            (409, errors.KernelConflictError),
            (422, errors.KernelBadRequestError),
            (425, errors.KernelAPIError),
            (429, errors.KernelRateLimitError),
            (499, errors.KernelAPIError),
            (500, errors.KernelServerError),
            (502, errors.KernelServerError),
            (503, errors.KernelServerError),
            (504, errors.KernelServerError),
            (529, errors.KernelServerError),
            (599, errors.KernelServerError),
        ],
    )
    def test_error_class_follows_from_the_status(self, status, kind):
        with pytest.raises(errors.KernelAPIError) as raised:
            read(answer(status, API_ERROR), nothing)
        assert type(raised.value) is kind
        assert raised.value.status_code == status


class TestErrorBody:
    def test_error_body_of_the_api_goes_into_the_message(self):
        error = error_from(answer(400, API_ERROR, **{"x-request-id": "req_1", "retry-after": "7"}))
        assert (error.code, error.message) == ("bad_request", "version is required")
        assert error.details == (
            ("missing", "version"),
            (None, "see the docs"),
            ("E1", None),
            ("invalid_input", "no version"),
        )
        assert (error.retry_after, error.request_id) == (7.0, "req_1")
        assert str(error) == (
            "400 bad_request: version is required [missing: version] [see the docs] [E1] "
            "[invalid_input: no version] (request req_1)"
        )

    @pytest.mark.parametrize(
        ("body", "text"),
        [
            (b"", "418: (no readable text)"),
            (b" \n ", "418: (no readable text)"),
            (b"\x00\x1b", "418: (no readable text)"),
            ("<html>\n <body>Bad\tGateway</body>\n</html>", "418: <html> <body>Bad Gateway</body> </html>"),
            ("upstream connect error", "418: upstream connect error"),
            (b"\xff\xfe caf\xe9", "418: \ufffd\ufffd caf\ufffd"),
            ("null", "418: null"),
            ('"no"', '418: "no"'),
            ("[1, 2]", "418: [1, 2]"),
            ("{}", "418: {}"),
            ('{"error": "x"}', '418: {"error": "x"}'),
            ('{"code": 5, "message": ["x"]}', '418: {"code": 5, "message": ["x"]}'),
            ('{"code": "c"}', '418 c: {"code": "c"}'),
            ('{"message": "m"}', "418: m"),
            ('{"code": "", "message": " "}', '418: {"code": "", "message": " "}'),
            ('{"code": "\\u0000", "message": "\\u001b"}', '418: {"code": "\\u0000", "message": "\\u001b"}'),
            ('{"message": "m", "details": {"code": "c"}, "inner_error": "x"}', "418: m"),
            ('{"message": "m", "details": [null, "x", {}, {"code": 5}, {"code": "c"}]}', "418: m [c]"),
            ('{"message": "m"', '418: {"message": "m"'),
            ('{"message": ' + "1" * 5000 + "}", '418: {"message": ' + "1" * 138 + "…"),
            ("[" * 100_000, "418: " + "[" * 150 + "…"),
            ('{"message": "two\\nlines\\u001b[31m\\u202e red"}', "418: two lines [31m red"),
        ],
        ids=lambda value: ascii(value)[:40],
    )
    def test_foreign_error_body_becomes_one_readable_line(self, body, text):
        assert str(error_from(answer(418, body))) == text

    @pytest.mark.parametrize(
        "body",
        [
            "<p>" + "x" * 10_000_000,
            {"code": "c" * 100_000, "message": "m" * 100_000, "inner_error": {"code": "i" * 100_000}},
            {"message": "m", "details": [{"code": "c" * 1000, "message": "d" * 1000}] * 1000},
        ],
        ids=["HTML", "long texts", "many details"],
    )
    def test_message_of_an_error_body_is_bounded(self, body):
        error = error_from(answer(500, body, **{"x-request-id": "r" * 100_000}))
        assert len(str(error)) < 8000
        assert str(error).isprintable()

    def test_request_id_is_made_printable(self):
        assert error_from(answer(500, "", **{"x-request-id": "a\x1bb"})).request_id == "a b"


class TestRetryAfter:
    NOW = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("0", 0.0),
            ("5", 5.0),
            ("120", 120.0),
            (" 7 ", 7.0),
            ("1.5", 1.5),
            ("Thu, 01 Jan 2026 12:00:30 GMT", 30.0),
            ("Thu, 01 Jan 2026 13:00:30 +0100", 30.0),
            ("Thu, 01 Jan 2026 12:02:00", 120.0),
            ("Thursday, 01-Jan-26 12:00:30 GMT", 30.0),
            ("Thu, 01 Jan 2026 11:59:00 GMT", 0.0),
            ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ],
    )
    def test_retry_after_is_read_as_seconds_from_now(self, value, seconds):
        assert parse_retry_after(value, now=self.NOW) == seconds

    @pytest.mark.parametrize(
        "value",
        [
            None,
            "",
            " ",
            ".",
            "1.5.2",
            "soon",
            "-5",
            "+5",
            "1e3",
            "inf",
            "nan",
            "5, 10",
            "\u0665",
            "Thu, 99 Jan 2026 12:00:00 GMT",
            "Thu, 01 Jan 2026 25:00:00 GMT",
            "Thu, 01 Jan 99999999999999999999 12:00:00 GMT",
            "Thu, 01 Jan 2026 12:00:00 +99999999999999999999",
            "Fri, 31 Dec 9999 23:59:59 -2359",
            "2026-01-01T12:00:00Z",
        ],
        ids=ascii,
    )
    def test_malformed_retry_after_is_none(self, value):
        assert parse_retry_after(value, now=self.NOW) is None

    def test_retry_after_date_counts_from_the_present(self):
        in_an_hour = datetime.now(timezone.utc) + timedelta(hours=1)
        assert parse_retry_after(in_an_hour.strftime("%a, %d %b %Y %H:%M:%S GMT")) == pytest.approx(3600, abs=5)

    @pytest.mark.parametrize("hours", [-1, 0, 24 * 365])
    def test_retry_after_date_counts_from_the_answers_own_date(self, hours):
        """The server's clock may be wrong: the difference of its two dates is right."""
        sent = datetime.now(timezone.utc) + timedelta(hours=hours)
        headers = {"date": format_datetime(sent, usegmt=True)}
        headers["retry-after"] = format_datetime(sent + timedelta(seconds=30), usegmt=True)
        assert error_from(answer(503, "", **headers)).retry_after == 30

    def test_retry_after_date_counts_from_this_clock_if_the_answers_date_cannot_be_read(self):
        soon = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=30), usegmt=True)
        error = error_from(answer(503, "", **{"date": "now", "retry-after": soon}))
        assert error.retry_after == pytest.approx(30, abs=5)

    @pytest.mark.parametrize(("headers", "seconds"), [({}, None), ({"retry-after": "90"}, 90.0)])
    def test_retry_after_is_an_attribute_of_the_error(self, headers, seconds):
        assert error_from(answer(429, API_ERROR, **headers)).retry_after == seconds


class TestRedirect:
    @pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
    def test_redirect_is_refused_and_its_target_named(self, status):
        with pytest.raises(errors.KernelResponseError) as raised:
            read(answer(status, {"id": "abc"}, location="https://elsewhere.example/login"), json_of(Invocation))
        assert raised.value.status_code == status
        assert f"{status}, a redirect to https://elsewhere.example/login, which is not followed" in str(
            raised.value
        )

    def test_redirect_without_a_target_is_refused(self):
        with pytest.raises(errors.KernelResponseError, match="a redirect to nowhere"):
            read(answer(302), nothing)

    def test_redirect_target_becomes_one_bounded_line(self):
        with pytest.raises(errors.KernelResponseError) as raised:
            read(answer(302, location="https://x/\x1b[31m" + "y" * 100_000), nothing)
        assert str(raised.value).isprintable()
        assert len(str(raised.value)) < 700


class TestSuccess:
    def test_success_is_parsed(self):
        assert read(answer(200, {"id": "abc", "status": "running"}), json_of(Invocation)).id == "abc"
        assert read(answer(202, {"id": "abc", "status": "queued"}), json_of(Invocation)).status == "queued"

    @pytest.mark.parametrize(
        ("body", "content_type"),
        [
            (b"\xef\xbb\xbf" + DOCUMENT, "application/json"),
            (b" \r\n\t" + DOCUMENT, "text/plain"),
            (DOCUMENT, "application/json; charset=ISO-8859-1"),
            (DOCUMENT.decode().encode("utf-16"), "application/json"),
            (DOCUMENT.decode().encode("utf-16-le"), "application/json"),
            (DOCUMENT.decode().encode("latin-1"), 'application/json;Charset="ISO-8859-1"'),
            (DOCUMENT.decode().encode("cp1252"), "application/json; charset=windows-1252"),
        ],
        ids=["byte order mark", "white space", "wrong charset", "UTF-16", "UTF-16LE", "ISO-8859-1", "Windows"],
    )
    def test_success_is_read_whatever_it_begins_with_and_is_encoded_as(self, body, content_type):
        taken = read(answer(200, body, **{"content-type": content_type}), json_of(Invocation))
        assert (taken.id, taken.status_reason) == ("abc", "caf\xe9")

    @pytest.mark.parametrize("charset", ["idna", "zip", "punycode", "x" * 1000, ""])
    def test_text_in_an_unknown_encoding_is_left_out(self, charset):
        body = DOCUMENT.replace("\xe9".encode(), b"\xff")
        taken = read(answer(200, body, **{"content-type": f"text/json; charset={charset}"}), json_of(Invocation))
        assert (taken.id, taken.status_reason) == ("abc", None)

    def test_success_without_a_body_is_accepted_where_none_is_read(self):
        assert read(answer(204), nothing) is None
        assert read(answer(200, "<html>"), nothing) is None

    @pytest.mark.parametrize(
        ("body", "says"),
        [
            ("<html>Sign in</html>", "body: Invalid JSON"),
            ("", "body: Invalid JSON"),
            ('{"id": "abc", "status": "runn', "body: Invalid JSON"),
            (b'{"id": "\xff", "status": "running"}', "body: Invalid JSON"),
            ("null", "body: Input should be an object"),
            ("[]", "body: Input should be an object"),
            ("5", "body: Input should be an object"),
            ("{}", "id: Field required; status: Field required"),
            ('{"id": 5, "status": "running"}', "id: Input should be a valid string"),
            ('{"id": "", "status": "running"}', "id: String should have at least 1 character"),
            ('{"id": "abc", "status": "running", "output": ' + "[" * 100_000, "body: Invalid JSON"),
        ],
        ids=lambda value: ascii(value)[:40],
    )
    def test_success_that_is_not_the_apis_json_is_a_response_error(self, body, says):
        with pytest.raises(errors.KernelResponseError) as raised:
            read(answer(200, body), json_of(Invocation))
        assert raised.value.status_code == 200
        assert str(raised.value).startswith(f"200, but the body is not the Kernel API's JSON: {says}")
        assert str(raised.value).isprintable()

    @pytest.mark.parametrize(
        ("model", "document"),
        [
            (Invocation, {"id": ["s3cret"], "status": {"s3cret": 1}, "app_name": 5, "output": "s3cret"}),
            (Invocation, ["s3cret"]),
            (AuthContext, {"organization": "s3cret", "authorization": {"effective_scope": ["s3cret"]}}),
            (BrowserList, {"browsers": {"session_id": 5, "cdp_ws_url": {"jwt": "s3cret"}}}),
        ],
        ids=["invocation", "array", "auth context", "browsers"],
    )
    def test_response_error_shows_no_value_of_the_body(self, model, document):
        with pytest.raises(errors.KernelResponseError) as raised:
            read(answer(200, document), json_of(model))
        assert "s3cret" not in f"{raised.value!s}{raised.value!r}"
        assert raised.value.__suppress_context__

    def test_response_error_names_the_first_problems_only(self):
        with pytest.raises(errors.KernelResponseError) as raised:
            read(answer(200, [5] * 100), page_of(Invocation))
        text = str(raised.value)
        assert "2: Input should be an object" in text
        assert "3: " not in text


class TestPage:
    @pytest.mark.parametrize(
        ("headers", "next_offset"),
        [
            ({}, None),
            ({"x-has-more": "false", "x-next-offset": "0"}, None),
            ({"x-has-more": "false", "x-next-offset": "2"}, None),
            ({"x-has-more": "", "x-next-offset": ""}, None),
            ({"x-has-more": "true", "x-next-offset": "1"}, 1),
            ({"x-has-more": " True ", "x-next-offset": " 2 "}, 2),
            ({"x-has-more": "1", "x-next-offset": "2"}, 2),
            ({"x-has-more": "true, true", "x-next-offset": "2, 2"}, 2),
            ({"x-next-offset": "2"}, 2),
            ({"x-has-more": "perhaps", "x-next-offset": "2"}, 2),
            ({"x-next-offset": "0"}, None),
        ],
        ids=repr,
    )
    def test_page_has_rows_and_the_offset_of_the_next_one(self, headers, next_offset):
        page = read(answer(200, ROWS, **headers), page_of(Invocation))
        assert [row.id for row in page.items] == ["a", "b"]
        assert page.next_offset == next_offset

    def test_page_may_be_empty(self):
        assert read(answer(200, []), page_of(Invocation)).items == ()

    @pytest.mark.parametrize("offset", [None, "", "0", "-2", "2.0", "null", "x", "\u0662", "9" * 5000], ids=ascii)
    def test_page_with_more_but_no_next_offset_is_refused(self, offset):
        headers = {"x-has-more": "true"} | ({} if offset is None else {"x-next-offset": offset})
        with pytest.raises(errors.KernelResponseError) as raised:
            read(answer(200, ROWS, **headers), page_of(Invocation))
        assert "X-Has-More is true, but X-Next-Offset is" in str(raised.value) or len(offset) > 4000
        assert len(str(raised.value)) < 700

    @pytest.mark.parametrize(
        ("headers", "has_paging"),
        [
            ({}, False),
            ({"x-has-more": "perhaps", "x-next-offset": "null"}, False),
            ({"x-has-more": "false"}, True),
            ({"x-next-offset": "0"}, True),
        ],
        ids=repr,
    )
    def test_page_knows_whether_its_headers_say_if_there_are_more(self, headers, has_paging):
        assert read(answer(200, ROWS, **headers), page_of(Invocation)).has_paging is has_paging

    @pytest.mark.parametrize("body", ["null", " null\n"])
    @pytest.mark.parametrize("model", [Invocation, AppVersion])
    def test_null_in_place_of_a_list_is_a_list_without_rows(self, model, body):
        assert read(answer(200, body), page_of(model)).row_count == 0

    @pytest.mark.parametrize("body", ["0", "false", '""', "{}"])
    def test_other_empty_value_in_place_of_a_list_is_refused(self, body):
        with pytest.raises(errors.KernelResponseError):
            read(answer(200, body), page_of(Invocation))

    @pytest.mark.parametrize(
        ("bad", "problem"),
        [
            ({"status": "running"}, "id"),
            ({"id": "x", "status": None}, "status"),
            ({"id": 5, "status": "\ud800", "app_name": 5}, "id, status"),
            ({"id": "s3cret\n", "status": "running"}, "id"),
            (None, "it is no object"),
            (5, "it is no object"),
        ],
        ids=repr,
    )
    def test_row_that_cannot_be_read_does_not_hide_the_others(self, bad, problem, caplog):
        page = read(answer(200, [ROWS[0], bad, ROWS[1]]), page_of(Invocation))
        assert [row.id for row in page.items] == ["a", "b"]
        assert page.row_count == 3
        assert [row.problem for row in page.unreadable] == [problem]
        assert "s3cret" not in caplog.text + repr(page)

    def test_odd_optional_fields_of_rows_are_none(self):
        odd = {**ROWS[0], "app_name": 5, "finished_at": ["x"], "status_reason": "\ud800"}
        page = read(answer(200, [odd, ROWS[1]]), page_of(Invocation))
        assert [(row.id, row.app_name, row.finished_at) for row in page.items] == [
            ("a", None, None),
            ("b", None, None),
        ]
        assert page.unreadable == ()

    def test_page_that_is_nested_too_deeply_is_too_large(self):
        deep = '[{"id": "a", "status": "running", "n": ' + "[" * 100_000 + "]" * 100_000 + "}]"
        with pytest.raises(errors.KernelResponseTooLargeError):
            read(answer(200, deep), page_of(Invocation))

    @pytest.mark.parametrize("body", [{"items": []}, "<html>", [5], [None, "x"]], ids=repr)
    def test_page_that_is_no_list_of_rows_is_refused(self, body):
        with pytest.raises(errors.KernelResponseError):
            read(answer(200, body), page_of(Invocation))


def test_body_of_any_bytes_has_a_text():
    assert answer(200, b"a\xffb").text() == "a\ufffdb"
