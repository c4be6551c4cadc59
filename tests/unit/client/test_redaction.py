"""API keys are masked in text for people, in each form that a text may hold."""

from __future__ import annotations

import base64
import html
import json
import time
from urllib.parse import quote, quote_plus

import pytest

from airflow_provider_kernel.client.errors import KernelError, KernelNotFoundError
from airflow_provider_kernel.client.redaction import MASK, mask, mask_start, printed_forms, register_key
from airflow_provider_kernel.client.resources.invocations.errors import KernelInvocationFinishedError
from airflow_provider_kernel.client.resources.invocations.models import Invocation
from airflow_provider_kernel.client.sanitize import sanitize_line, short_repr

KEY = "sk-very-secret"
#: What a header can hold, and each encoding writes in its own way.
SPECIAL = "\\sk\"'/<&>% +=~\\\\x"

FORMS = {
    "as it is": lambda key: key,
    "repr": lambda key: repr(key)[1:-1],
    "repr of bytes": lambda key: repr(key.encode())[2:-1],
    "JSON": lambda key: json.dumps(key)[1:-1],
    "JSON in JSON": lambda key: json.dumps(json.dumps(key))[3:-3],
    "JSON of PHP": lambda key: json.dumps(key)[1:-1].replace("/", "\\/"),
    "JSON of Go": lambda key: json.dumps(key)[1:-1].replace("&", "\\u0026").replace("<", "\\u003c"),
    "JSON in code points": lambda key: "".join(f"\\u{ord(c):04X}" for c in key),
    "URL": lambda key: quote(key, safe=""),
    "form": quote_plus,
    "URL, all escaped": lambda key: "".join(f"%{ord(c):02x}" for c in key),
    "URL in URL": lambda key: quote(quote(key, safe=""), safe=""),
    "JSON in URL": lambda key: quote(json.dumps(key)[1:-1], safe=""),
    "HTML": html.escape,
    "HTML in HTML": lambda key: html.escape(html.escape(key)),
    "HTML in numbers": lambda key: "".join(f"&#{ord(c)};" for c in key),
    "HTML in hexadecimal": lambda key: "".join(f"&#x{ord(c):X};" for c in key),
    "JSON in HTML": lambda key: html.escape(json.dumps(key)[1:-1]),
}


@pytest.fixture(autouse=True)
def _registered():
    register_key(KEY)
    register_key(SPECIAL)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("key", [KEY, SPECIAL])
def test_key_is_masked_in_each_form(form, key):
    assert mask(f"Bearer {FORMS[form](key)}, two") == "Bearer ***, two"


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("before", ["Bearer ", "Bearer: ", "key="], ids=len)
@pytest.mark.parametrize("key", [KEY, SPECIAL])
def test_key_is_masked_in_base64(encode, before, key):
    text = encode(f"{before}{key}".encode()).decode()
    masked = mask(text)
    assert "***" in masked
    assert len(masked.replace("***", "")) < len(text) - len(key)


@pytest.mark.parametrize("text", ["", "sk-very-secre", "sk-other", "100 % \\ & done", "c2stdmVyeQ=="])
def test_text_without_a_key_stays(text):
    assert mask(text) == text


def test_longer_key_is_masked_before_one_that_it_begins_with():
    register_key(f"{KEY}-of-another")
    assert mask(f"{KEY}-of-another and {KEY}") == "*** and ***"


@pytest.mark.parametrize("text", ["\\", "%25", "&amp;", "s%", "\\\\u00"], ids=repr)
def test_no_text_makes_the_search_slow(text):
    text *= 65536 // len(text)
    began = time.process_time()
    mask(text)
    # It takes 0.3 s at most; a search that goes back and forth would take hours.
    assert time.process_time() - began < 10


@pytest.mark.parametrize("position", [*range(280, 301), *range(1180, 1201)])
def test_text_is_masked_before_it_is_cut(position):
    for padding in ("x", " "):
        line = sanitize_line(padding * position + KEY + "y" * 9999)
        assert "sk-v" not in line


def test_start_of_a_long_text_is_masked_and_cut():
    assert mask_start("x" * 10 + KEY + "y" * 9999, 15) == "x" * 10 + "***yy"


def test_value_for_a_message_is_masked_before_it_is_cut():
    assert short_repr("x" * 74 + KEY) == repr("x" * 74 + "***")
    assert "sk-" not in short_repr("x" * 77 + KEY)


def test_printed_forms_of_an_ordinary_key_are_the_key():
    assert printed_forms(KEY) == [KEY]


def test_printed_forms_of_a_special_key_are_those_of_a_log():
    assert printed_forms('sk"&/-secret') == [
        'sk"&/-secret',
        'sk\\"&/-secret',
        "sk%22%26%2F-secret",
        "sk&quot;&amp;/-secret",
    ]


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
def test_no_error_shows_the_key(name):
    error = ERRORS[name]()
    error.request = f"GET /invocations/{KEY}"
    attributes = (getattr(error, name, None) for name in ("message", "code", "details", "request_id"))
    assert KEY not in "".join([str(error), repr(error), *map(repr, attributes)])
    assert "***" in str(error)


@pytest.mark.parametrize("sign", ["=", "%3D", "%253d", "%25253D", "\\u003d", "='", '="'])
def test_token_of_an_address_is_masked(sign):
    text = f"wss://proxy.example:8443/browser/cdp?a=b&JWT{sign}eyJhbGciOi.s3cret-token_x&readOnly=true"
    assert mask(text) == f"wss://proxy.example:8443/browser/cdp?a=b&JWT{sign}{MASK}&readOnly=true"


def test_word_that_is_no_token_stays():
    assert mask("jwt: no token; the jwt was refused") == "jwt: no token; the jwt was refused"
