"""Whatever answers in the API's place becomes one of our errors: no crash, no second run, no key given away."""

from __future__ import annotations

import gzip
import json

import pytest
from contract import troubles
from contract.wire import Server, ok

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.resources.apps import list_apps
from airflow_provider_kernel.client.resources.auth import get_auth_context
from airflow_provider_kernel.client.resources.invocations import flows, requests
from airflow_provider_kernel.testing import Fault, KernelEmulator

GET = requests.get_invocation("abc")
CREATE = requests.create_invocation("demo", "hang")

#: Bodies of a 200 that are not an invocation.
NO_INVOCATION = {
    "HTML": troubles.ERROR_PAGE,
    "empty": b"",
    "blank": b" \n",
    "cut": b'{"id": "abc", "status": "runn',
    "two": b'{"id": "abc", "status": "running"} {"id": "abc"}',
    "null": b"null",
    "list": [],
    "text": b'"abc"',
    "number": b"7",
    "no status": {"id": "abc"},
    "no id": {"status": "running"},
    "empty id": {"id": "", "status": "running"},
    "id is a number": {"id": 5, "status": "running"},
    "status is null": {"id": "abc", "status": None},
    "status is a list": {"id": "abc", "status": ["running"]},
    "invalid UTF-8": b'{"id": "\xff\xfe", "status": "running"}',
    "half a surrogate pair": b'{"id": "abc", "status": "run\\ud800"}',
    "NaN": b'{"id": "abc", "status": NaN}',
    "very deep": b"[" * 100_000,
}


@pytest.mark.parametrize("body", NO_INVOCATION)
class TestA200ThatIsNotTheApis:
    def test_get_raises_at_once_for_a_200_that_is_not_the_apis(self, client, kernel_emulator, body):
        kernel_emulator.add_fault(Fault("GET", "/invocations/*", None, status=200, body=NO_INVOCATION[body]))
        with pytest.raises(errors.KernelResponseError) as caught:
            client.send(GET)
        assert caught.value.status_code == 200
        assert "not the Kernel API's JSON" in str(caught.value)
        assert "GET /invocations/abc" in str(caught.value)
        assert len(str(caught.value)) < 500
        assert str(caught.value).isprintable()
        assert len(kernel_emulator.journal) == 1

    @pytest.mark.parametrize("processed", [False, True])
    def test_create_is_ambiguous_for_a_200_that_is_not_the_apis(self, client, kernel_emulator, body, processed):
        kernel_emulator.add_fault(
            Fault("POST", "/invocations", None, status=200, body=NO_INVOCATION[body], processed=processed)
        )
        with pytest.raises(errors.KernelAmbiguousStartError):
            client.run(flows.start_invocation(CREATE))
        assert len(kernel_emulator.journal) == 1
        assert len(kernel_emulator.invocations) == int(processed)

    def test_update_does_not_succeed_for_a_200_that_is_not_the_apis(self, client, kernel_emulator, running, body):
        kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", None, status=200, body=NO_INVOCATION[body]))
        with pytest.raises(errors.KernelResponseError):
            client.run(flows.update_invocation(running, "succeeded"))
        assert kernel_emulator.invocation(running).status == "running"


class TestTheOtherEndpoints:
    @pytest.mark.parametrize("body", [troubles.ERROR_PAGE, {}, [5], {"browsers": 5}, b"null", []])
    def test_browser_calls_refuse_a_200_that_is_not_the_apis(self, client, kernel_emulator, body):
        kernel_emulator.add_fault(Fault("GET", "/invocations/*/browsers", None, status=200, body=body))
        with pytest.raises(errors.KernelResponseError):
            client.send(requests.list_invocation_browsers("abc"))

    @pytest.mark.parametrize("body", [troubles.ERROR_PAGE, {}, [5], {"items": []}, b'""', b"0"])
    @pytest.mark.parametrize("make", [requests.list_invocations, list_apps])
    def test_lists_refuse_a_200_that_is_not_the_apis(self, client, kernel_emulator, make, body):
        kernel_emulator.add_fault(Fault("GET", "*", None, status=200, body=body))
        with pytest.raises(errors.KernelResponseError):
            client.pages(make())
        assert len(kernel_emulator.journal) == 1

    @pytest.mark.parametrize("body", [troubles.ERROR_PAGE, {}, [], {"organization": "acme"}])
    def test_auth_context_refuses_a_200_that_is_not_the_apis(self, client, kernel_emulator, body):
        kernel_emulator.add_fault(Fault("GET", "*", None, status=200, body=body))
        with pytest.raises(errors.KernelResponseError):
            client.send(get_auth_context())

    def test_response_error_does_not_quote_the_body(self, client, kernel_emulator):
        kernel_emulator.add_fault(
            Fault("GET", "*", None, status=200, body={"id": 5, "status": "x", "output": "secret"})
        )
        with pytest.raises(errors.KernelResponseError) as caught:
            client.send(GET)
        assert "id: Input should be a valid string" in str(caught.value)
        assert "secret" not in str(caught.value)


class TestPaging:
    @pytest.mark.parametrize("offset", ["0", "", "-1", "two", "1.5", "٣", "9" * 19, "9" * 5000])
    def test_paging_with_an_invalid_next_page_is_an_error(self, client, kernel_emulator, offset):
        # As UTF-8 bytes that the emulator sends as they are.
        headers = {"X-Has-More": "true", "X-Next-Offset": offset.encode().decode("latin-1")}
        kernel_emulator.add_fault(Fault("GET", "*", None, status=200, body=[], headers=headers))
        with pytest.raises(errors.KernelResponseError):
            client.pages(requests.list_invocations())
        assert len(kernel_emulator.journal) == 1

    @pytest.mark.parametrize("offset", [7, 6, 1])
    def test_paging_in_circles_is_an_error(self, client, kernel_emulator, offset):
        headers = {"X-Has-More": "true", "X-Next-Offset": str(offset)}
        # Not for ever: who goes in circles with it is to fail, not to hang.
        kernel_emulator.add_fault(Fault("GET", "*", range(1, 20), status=200, body=[], headers=headers))
        with pytest.raises(errors.KernelResponseError, match="page after offset 7"):
            client.pages(requests.list_invocations(offset=7))
        assert len(kernel_emulator.journal) == 1

    def test_paging_retries_a_page_that_fails(self, client, kernel_emulator):
        ids = {client.send(requests.create_invocation("demo", "echo")).id for _ in range(3)}
        kernel_emulator.add_fault(Fault("GET", "/invocations", (2, 3), status=502))
        found = client.pages(requests.list_invocations(limit=1))
        assert {invocation.id for invocation in found} == ids
        assert [r.query["offset"] for r in kernel_emulator.requests("GET")] == ["0", "1", "1", "1", "2"]


class TestRedirects:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    @pytest.mark.parametrize(
        "request_",
        [GET, CREATE, requests.update_invocation("abc", "failed"), requests.delete_invocation_browsers("abc")],
        ids=str,
    )
    def test_redirect_does_not_send_the_key_to_another_host(self, client, kernel_emulator, status, request_):
        with KernelEmulator() as elsewhere:
            target = f"{elsewhere.base_url}/invocations/abc"
            kernel_emulator.add_fault(Fault("*", "*", None, status=status, headers={"Location": target}))
            with pytest.raises(errors.KernelResponseError) as caught:
                client.send(request_)
            assert elsewhere.journal == ()
        assert caught.value.status_code == status
        assert f"a redirect to {target}, which is not followed" in str(caught.value)
        assert len(kernel_emulator.journal) == 1

    @pytest.mark.parametrize("start", [CREATE], ids=str)
    def test_redirect_of_a_create_is_ambiguous(self, client, kernel_emulator, start):
        kernel_emulator.add_fault(
            Fault("POST", "*", None, status=307, headers={"Location": "/v2/invocations"}, processed=True)
        )
        with pytest.raises(errors.KernelAmbiguousStartError):
            client.run(flows.start_invocation(start))
        assert len(kernel_emulator.invocations) == 1

    @pytest.mark.parametrize(
        "target",
        [
            "",
            "//",
            "http://[",
            "http://a:b",
            "http://xn--/",
            "mailto:x",
            "javascript:alert(1)",
            "\xff",
            "/" + "a" * 70_000,
        ],
        ids=lambda target: target[:20] or "empty",
    )
    @pytest.mark.parametrize("flow", [False, True], ids=["read", "start"])
    def test_redirect_to_what_is_no_url_is_an_error(self, client, kernel_emulator, target, flow):
        kernel_emulator.add_fault(Fault("*", "*", None, status=302, headers={"Location": target}))
        with pytest.raises(errors.KernelAmbiguousStartError if flow else errors.KernelResponseError) as caught:
            client.run(flows.start_invocation(CREATE)) if flow else client.send(GET)
        assert "302, a redirect to" in str(caught.value)
        assert len(str(caught.value)) < 1000
        assert len(kernel_emulator.journal) == 1

    def test_304_is_an_error(self, client, kernel_emulator):
        kernel_emulator.add_fault(Fault("*", "*", None, status=304))
        with pytest.raises(errors.KernelResponseError, match="304"):
            client.send(GET)


class TestBodies:
    def test_compressed_body_is_read(self, client, kernel_emulator):
        body = gzip.compress(json.dumps({"id": "abc", "status": "running", "output": "ü" * 1000}).encode())
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        kernel_emulator.add_fault(Fault("*", "*", None, status=200, body=body, headers=headers))
        assert client.send(GET).output == "ü" * 1000

    @pytest.mark.parametrize(
        "body",
        [b'{"id": "abc", "status": "running"}', gzip.compress(b"x" * 100)[:30] + b"garbage" * 10],
        ids=["plain", "garbled"],
    )
    def test_body_with_a_wrong_encoding_is_an_error(self, client, kernel_emulator, body):
        kernel_emulator.add_fault(
            Fault("*", "*", None, status=200, body=body, headers={"Content-Encoding": "gzip"})
        )
        with pytest.raises(errors.KernelResponseError):
            client.send(GET)
        with pytest.raises(errors.KernelAmbiguousStartError):
            client.run(flows.start_invocation(CREATE))

    @pytest.mark.parametrize("compressed", [False, True])
    def test_body_over_the_limit_is_refused(self, client, kernel_emulator, monkeypatch, compressed):
        monkeypatch.setattr("airflow_provider_kernel.client.http.response_body.MAX_RESPONSE_BYTES", 100_000)
        body = b"x" * 100_001
        headers = {"Content-Encoding": "gzip"} if compressed else {}
        kernel_emulator.add_fault(
            Fault("*", "*", None, status=200, body=gzip.compress(body) if compressed else body, headers=headers)
        )
        with pytest.raises(errors.KernelResponseError, match="the body is larger than"):
            client.send(GET)
        with pytest.raises(errors.KernelAmbiguousStartError):
            client.run(flows.start_invocation(CREATE))
        assert len(kernel_emulator.journal) == 2

    def test_body_of_just_the_limit_is_read(self, client, kernel_emulator, monkeypatch):
        monkeypatch.setattr("airflow_provider_kernel.client.http.response_body.MAX_RESPONSE_BYTES", 100_000)
        body = b'{"id": "abc", "status": "running"}'.ljust(100_000)
        kernel_emulator.add_fault(Fault("*", "*", None, status=200, body=body))
        assert client.send(GET).id == "abc"

    @pytest.mark.parametrize(
        "body",
        [
            {"id": "abc", "status": "running", "started_at": 1700000000},
            {"id": "abc", "status": "running", "app_name": {"name": "shop"}},
            b'{"id": "abc", "status": "running", "status_reason": "\xff"}',
            b'{"id": "abc", "status": "running", "n": ' + b"9" * 10_000 + b"}",
            b'\xef\xbb\xbf {"id": "abc", "status": "running"}',
            '{"id": "abc", "status": "running"}'.encode("utf-16"),
        ],
        ids=["time is a number", "name is an object", "invalid UTF-8", "huge number", "byte order mark", "UTF-16"],
    )
    def test_body_is_read_though_something_optional_is_odd(self, client, kernel_emulator, body):
        kernel_emulator.add_fault(Fault("GET", "*", None, status=200, body=body))
        found = client.send(GET)
        assert (found.id, found.status, found.started_at, found.app_name) == ("abc", "running", None, None)

    def test_null_in_place_of_browsers_is_none(self, client, kernel_emulator):
        rows = [{"session_id": "s1", "headless": "yes"}, {}, {"session_id": "s2"}]
        for body, expected in ({"browsers": None}, []), ({"browsers": rows}, ["s1", "s2"]):
            kernel_emulator.clear_faults()
            kernel_emulator.add_fault(Fault("GET", "*", None, status=200, body=body))
            found = client.send(requests.list_invocation_browsers("abc"))
            assert [browser.session_id for browser in found] == expected

    def test_unknown_fields_and_states_are_accepted(self, client, kernel_emulator):
        body = {"id": "abc", "status": "paused", "mood": {"x": [1]}, "output": {"not": "text"}}
        kernel_emulator.add_fault(Fault("*", "*", None, status=200, body=body))
        found = client.send(GET)
        assert (found.status, found.is_final, found.parsed_output()) == ("paused", False, {"not": "text"})


#: What comes over the connection and is no HTTP, or breaks its rules.
NO_HTTP = {
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "a long line": b"x" * 60_000 + b"\r\n\r\n",
    "a TLS alert": b"\x15\x03\x01\x00\x02\x02\x46",
    "a bad header": b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
    "a NUL in a header": b"HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "a bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    "a switch of protocols": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 50_000,
    "nothing": b"",
}


@pytest.mark.parametrize("garbage", NO_HTTP)
class TestWhatIsNoHttp:
    @pytest.fixture
    def server(self, garbage):
        def answer(server, client, number):
            client.sendall(NO_HTTP[garbage])
            return False

        with Server(answer) as server:
            yield server

    def test_get_is_retried_when_the_answer_is_no_http(self, connect, server):
        with pytest.raises(errors.KernelConnectionError) as caught:
            connect(server).send(GET)
        assert caught.value.sent
        assert len(server.requests) == 5
        assert len(str(caught.value)) < 600
        assert str(caught.value).isprintable()

    def test_create_is_ambiguous_when_the_answer_is_no_http(self, connect, server):
        with pytest.raises(errors.KernelAmbiguousStartError):
            connect(server).run(flows.start_invocation(CREATE))
        assert len(server.requests) == 1


def test_http_1_0_response_without_a_length_is_read(connect):
    def answer(server, client, number):
        client.sendall(b'HTTP/1.0 200 OK\r\n\r\n{"id": "abc", "status": "running"}')
        return False

    with Server(answer) as server:
        assert connect(server).send(GET).status == "running"


def test_response_in_tiny_pieces_is_read(connect):
    def answer(server, client, number):
        server.drip(client, ok(b'{"id": "abc", "status": "running"}'), every=0)
        return True

    with Server(answer) as server:
        assert connect(server).send(GET).status == "running"
