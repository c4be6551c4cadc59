"""What the API refuses is told once, in words that help, and without the key."""

from __future__ import annotations

import logging
import traceback

import pytest
from contract import troubles

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.resources.auth import get_auth_context
from airflow_provider_kernel.client.resources.invocations import flows, requests
from airflow_provider_kernel.testing import Fault

KEY = "sk-9f8e7d6c5b4a-never-to-be-seen"

CLASSES = {
    400: errors.KernelBadRequestError,
    401: errors.KernelAuthenticationError,
    403: errors.KernelPermissionError,
    404: errors.KernelNotFoundError,
    409: errors.KernelConflictError,
    422: errors.KernelBadRequestError,
}

#: Body, what the error says of it, and its code.
BODIES = {
    "the API's": ({"code": "some_code", "message": "It cannot be"}, "some_code: It cannot be", "some_code"),
    "the API's with details": (
        {
            "code": "some_code",
            "message": "It cannot be",
            "details": [{"code": "field", "message": "version is wrong"}],
            "inner_error": {"code": "invalid_input", "message": "really"},
        },
        "some_code: It cannot be [field: version is wrong] [invalid_input: really]",
        "some_code",
    ),
    "HTML": (troubles.ERROR_PAGE, ": <html><body><h1>Something is wrong</h1>", None),
    "empty": (b"", ": (no readable text)", None),
    "other JSON": (["no", "object"], ': ["no", "object"]', None),
    "wrong types": ({"code": 5, "message": None}, ': {"code": 5, "message": null}', None),
    "invalid UTF-8": (b"\xff\xfe broken \xc3", ": \ufffd\ufffd broken \ufffd", None),
    "terminal codes and lines": (
        {"code": "c", "message": "a\x1b[31mb\r\nc\x00d"},
        "c: a [31mb c d",
        "c",
    ),
    "very long": (b"x" * 100_000, ": " + "x" * 150 + "…", None),
    "cut JSON": (b'{"code": "c", "mess', ': {"code": "c", "mess', None),
}

REQUESTS = {
    "GET": requests.get_invocation("abc"),
    "PATCH": requests.update_invocation("abc", "failed", {"a": 1}),
    "DELETE": requests.delete_invocation_browsers("abc"),
    "POST": requests.create_invocation("demo", "echo"),
    "list": requests.list_invocations(),
}


@pytest.fixture
def everything_said(caplog):
    """Collect whatever could end up in a log or on a screen."""
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, logger=name)

    def collect(error):
        texts = [str(error), repr(error), *traceback.format_exception(type(error), error, error.__traceback__)]
        chain = error
        while chain is not None:
            texts += [repr(chain.args), repr(vars(chain))]
            chain = chain.__cause__ or chain.__context__
        texts += [f"{record.getMessage()} {vars(record)}" for record in caplog.records]
        return "\n".join(texts)

    return collect


class TestTheRealOnes:
    """As the emulator answers them by itself, in the shape that Kernel documents."""

    def check(self, error, kind, status, code, message):
        assert type(error) is kind
        assert error.permanent
        assert (error.status_code, error.code) == (status, code)
        assert f"{status} {code}: {message}" in str(error)
        assert "1 attempt in" in str(error)

    def test_wrong_key_is_an_authentication_error(self, connect, kernel_emulator, everything_said):
        client = connect(kernel_emulator, api_key=KEY)
        with pytest.raises(errors.KernelError) as caught:
            client.send(get_auth_context())
        self.check(
            caught.value, errors.KernelAuthenticationError, 401, "unauthorized", "The request has no valid API key"
        )
        assert "GET /auth/context" in str(caught.value)
        assert "API key (password) of the Airflow connection" in str(caught.value)
        assert len(kernel_emulator.journal) == 1
        said = everything_said(caught.value)
        assert "unauthorized" in said
        assert KEY not in said

    def test_key_of_another_project_is_a_permission_error(self, connect, kernel_emulator, everything_said):
        kernel_emulator.add_project("mine")
        kernel_emulator.add_project("yours")
        kernel_emulator.add_key(KEY, "mine")
        client = connect(kernel_emulator, api_key=KEY, project="yours")
        with pytest.raises(errors.KernelError) as caught:
            client.send(requests.list_invocations())
        self.check(caught.value, errors.KernelPermissionError, 403, "forbidden", "This API key belongs to another")
        assert len(kernel_emulator.journal) == 1
        assert KEY not in everything_said(caught.value)

    def test_unknown_project_is_a_not_found_error(self, connect, kernel_emulator):
        with pytest.raises(errors.KernelError) as caught:
            connect(kernel_emulator, project="nowhere").send(get_auth_context())
        self.check(
            caught.value, errors.KernelNotFoundError, 404, "project_not_found", "X-Kernel-Project: no project"
        )
        assert len(kernel_emulator.journal) == 1

    def test_invocation_of_another_project_is_a_not_found_error(self, connect, kernel_emulator, running):
        kernel_emulator.add_project("team")
        there = connect(kernel_emulator, project="team")
        for request in (
            requests.get_invocation(running),
            requests.update_invocation(running, "failed"),
            requests.list_invocation_browsers(running),
            requests.delete_invocation_browsers(running),
        ):
            with pytest.raises(errors.KernelError) as caught:
                there.send(request)
            self.check(caught.value, errors.KernelNotFoundError, 404, "not_found", f"Invocation '{running}'")
        assert kernel_emulator.invocation(running).status == "running"

    def test_bad_request_has_its_details(self, client, kernel_emulator):
        with pytest.raises(errors.KernelError) as caught:
            client.send(requests.list_invocations(since="yesterday"))
        self.check(caught.value, errors.KernelBadRequestError, 400, "bad_request", "since: 'yesterday' is neither")
        assert caught.value.details[0][0] == "invalid_input"
        assert len(kernel_emulator.journal) == 1


class TestAnyOfThem:
    @pytest.mark.parametrize(
        ("status", "body"),
        [*((400, body) for body in BODIES), *((status, "the API's") for status in CLASSES if status != 400)],
    )
    def test_refusal_has_its_class_and_text_after_one_attempt(
        self, connect, kernel_emulator, everything_said, status, body
    ):
        content, text, code = BODIES[body]
        kernel_emulator.add_key(KEY)
        kernel_emulator.add_fault(Fault("*", "*", None, status=status, body=content))
        with pytest.raises(errors.KernelError) as caught:
            connect(kernel_emulator, api_key=KEY).send(REQUESTS["PATCH"])
        error = caught.value
        assert type(error) is CLASSES[status]
        assert (error.permanent, error.status_code, error.code) == (True, status, code)
        separator = " " if code else ""
        assert f"PATCH /invocations/abc: {status}{separator}{text}" in str(error)
        assert "(1 attempt in " in str(error)
        assert str(error).isprintable()
        assert len(str(error)) < 800
        assert len(kernel_emulator.journal) == 1
        assert KEY not in everything_said(error)

    @pytest.mark.parametrize("asked", REQUESTS)
    def test_refusal_is_alike_for_every_request(self, client, kernel_emulator, asked):
        kernel_emulator.add_fault(Fault("*", "*", None, status=403))
        with pytest.raises(errors.KernelPermissionError) as caught:
            client.send(REQUESTS[asked])
        assert caught.value.request == str(REQUESTS[asked])
        assert len(kernel_emulator.journal) == 1

    @pytest.mark.parametrize("status", [402, 405, 410, 418, 451])
    def test_refusal_without_a_class_of_its_own_is_an_api_error(self, client, kernel_emulator, status):
        kernel_emulator.add_fault(Fault("*", "*", None, status=status))
        with pytest.raises(errors.KernelAPIError) as caught:
            client.send(REQUESTS["GET"])
        assert type(caught.value) is errors.KernelAPIError
        assert caught.value.status_code == status
        assert len(kernel_emulator.journal) == 1

    def test_refusal_names_the_request_id(self, client, kernel_emulator):
        kernel_emulator.add_fault(Fault("*", "*", None, status=400, headers={"X-Request-Id": "req-77"}))
        with pytest.raises(errors.KernelBadRequestError, match=r"\(request req-77\)"):
            client.send(REQUESTS["GET"])


class TestTheKeyStaysSecret:
    @pytest.mark.parametrize(
        "fault",
        [
            {"status": 400, "body": f"<pre>Authorization: Bearer {KEY}</pre>"},
            {"status": 401, "body": {"code": f"bad {KEY}", "message": f"No such key: {KEY}"}},
            {"status": 401, "headers": {"X-Request-Id": KEY}},
            {"status": 500, "body": {"message": "m", "details": [{"code": "c", "message": f"key={KEY}"}]}},
            {"status": 302, "headers": {"Location": f"/login?key={KEY}"}},
            {"status": 200, "body": f"<html>{KEY}</html>"},
            {"status": 200, "body": {"id": 5, "status": KEY}},
        ],
        ids=["page", "message", "request id", "details", "redirect", "200 page", "200 JSON"],
    )
    def test_key_that_the_answer_shows_is_redacted(self, connect, kernel_emulator, everything_said, caplog, fault):
        # httpcore's own DEBUG lines hold an answer's headers as they came, whoever reads them.
        caplog.set_level(logging.INFO, logger="httpcore")
        kernel_emulator.add_fault(Fault("*", "*", None, **fault))
        with pytest.raises(errors.KernelError) as caught:
            connect(kernel_emulator, api_key=KEY).send(REQUESTS["GET"])
        said = everything_said(caught.value)
        assert str(fault["status"]) in said
        assert KEY not in said

    @pytest.mark.parametrize("trouble", ["500", "dropped before processing", "body cut off", "429"])
    def test_key_is_not_shown_by_retries(self, connect, kernel_emulator, everything_said, trouble):
        kernel_emulator.add_key(KEY)
        kernel_emulator.add_fault(troubles.fault_of(trouble, "*", "/invocations", None))
        with pytest.raises(errors.KernelError) as caught:
            connect(kernel_emulator, api_key=KEY).send(REQUESTS["list"])
        said = everything_said(caught.value)
        assert "attempt 4 of at most 5" in said
        assert KEY not in said

    def test_key_is_not_shown_by_a_flow(self, connect, kernel_emulator, everything_said):
        kernel_emulator.add_key(KEY)
        kernel_emulator.add_fault(troubles.fault_of("dropped after processing", "POST", "/invocations", None))
        with pytest.raises(errors.KernelAmbiguousStartError) as caught:
            connect(kernel_emulator, api_key=KEY).run(flows.start_invocation(REQUESTS["POST"]))
        assert KEY not in everything_said(caught.value)
