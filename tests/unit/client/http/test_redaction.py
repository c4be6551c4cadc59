"""No error leaves a ``masked`` block with the key in it."""

from __future__ import annotations

import json
import traceback

import pytest

from airflow_provider_kernel.client.errors import KernelConnectionError, KernelError, KernelNotFoundError
from airflow_provider_kernel.client.http.redaction import mask_body, masked
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationFinishedError
from airflow_provider_kernel.client.resources.invocations.models import Invocation

KEY = "sk-very-secret"

ERRORS = {
    "message": lambda: KernelError(f"it says {KEY} and {KEY}"),
    "an answer": lambda: KernelNotFoundError(
        f"no {KEY}",
        status_code=404,
        code=f"c{KEY}",
        details=[(KEY, None), (None, KEY)],
        request_id=KEY,
    ),
    "what it found": lambda: KernelInvocationFinishedError(Invocation(id=KEY, status="failed"), "succeeded"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_key_is_redacted_in_every_kernel_error(name):
    with pytest.raises(KernelError) as caught, masked(KEY):
        raise ERRORS[name]()
    error = caught.value
    attributes = (getattr(error, name, None) for name in ("message", "code", "details", "request_id"))
    assert KEY not in "".join([str(error), repr(error), *map(repr, attributes), *traceback.format_exception(error)])
    assert "***" in str(error)


def fail_with(cause):
    try:
        raise cause
    except OSError as error:
        raise KernelConnectionError("cut") from error


def of_another(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("cause", [OSError(KEY), of_another(OSError("broken"), ValueError(KEY))], ids=repr)
def test_cause_that_shows_the_key_is_dropped(cause):
    with pytest.raises(KernelError) as caught, masked(KEY):
        fail_with(cause)
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_cause_that_does_not_show_the_key_is_kept():
    with pytest.raises(KernelError) as caught, masked(KEY):
        raise KernelConnectionError("cut") from OSError("broken pipe")
    assert isinstance(caught.value.__cause__, OSError)


def test_other_errors_are_not_redacted():
    with pytest.raises(ValueError, match=KEY), masked(KEY):
        raise ValueError(KEY)


class TestBody:
    def test_body_without_the_key_keeps_its_bytes(self):
        body = b'{ "id":"abc", "n": 1e400 }'
        assert mask_body(body, KEY) is body

    def test_body_is_redacted_except_payload_and_output(self):
        given = {"id": KEY, "a": [{"b": f"x{KEY}x"}], "payload": KEY, "output": {"c": KEY}, "n": 1, "none": None}
        masked_ = {"id": "***", "a": [{"b": "x***x"}], "payload": KEY, "output": {"c": KEY}, "n": 1, "none": None}
        assert json.loads(mask_body(json.dumps(given).encode(), KEY)) == masked_

    @pytest.mark.parametrize("body", [f"<p>{KEY}".encode(), b"[" * 10_000 + KEY.encode(), b"\xff" + KEY.encode()])
    def test_body_that_is_no_json_is_redacted_everywhere(self, body):
        assert mask_body(body, KEY) == body.replace(KEY.encode(), b"***")
