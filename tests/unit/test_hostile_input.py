"""Any input from a user, a template or a connection works, or is refused with a message that names the fix."""

from __future__ import annotations

import json
import math
import os
from datetime import datetime, timezone

import pytest
from airflow.sdk import Connection
from hypothesis import given, settings, strategies as st

from airflow_provider_kernel.client.client import KernelClient
from airflow_provider_kernel.client.errors import KernelConfigurationError, KernelInputError
from airflow_provider_kernel.client.resources.invocations import requests
from airflow_provider_kernel.connection_form import EXTRA_FIELDS
from airflow_provider_kernel.hooks.connection import config_from_connection
from airflow_provider_kernel.operators.invocation import (
    KernelCancelInvocationOperator,
    KernelCompleteInvocationOperator,
    KernelInvokeOperator,
    KernelUpdateInvocationOperator,
)
from airflow_provider_kernel.sensors.invocation import KernelInvocationSensor

#: How many inputs are generated.
COUNT = int(os.environ.get("GENERATED_INPUTS", "300"))
pytestmark = pytest.mark.timeout(60 + COUNT // 4)
KEY = "sk-hostile-input-key"

itself: list = []
itself.append(itself)

#: Each table: an input, and a part of the message, which names the input, its place and the allowed values.
IDS = [
    ("", "it is empty"),
    (" ", "it is empty"),
    ("None", "a template probably found no value: check the XCom or conf"),
    ("null", "a template probably found no value"),
    (None, "of type NoneType, not text"),
    (7, "of type int, not text"),
    (["abc"], "of type list, not text"),
    ({"id": "abc"}, "of type dict, not text"),
    ("a/b", "it has a slash or is a path, not one id"),
    ("a\\b", "it has a slash or is a path, not one id"),
    ("..", "is a path, not one id"),
    ("abc\n", "it has line breaks, control characters, or space at an end"),
    (" abc", "it has line breaks, control characters, or space at an end"),
    ("a\x00b", "it has line breaks, control characters, or space at an end"),
    ("a\x1b[31mb", "it has line breaks, control characters, or space at an end"),
    ("a\ud800b", "it has line breaks, control characters, or space at an end"),
    ("a\u202eb", "it has line breaks, control characters, or space at an end"),
    ("a" * 501, "it has 501 characters; an id has 500 at most"),
]
PAYLOADS = [
    ({"a": {1}}, "payload['a'] cannot be written as JSON: a value of type set"),
    ({"a": [b"x"]}, "payload['a'][0] cannot be written as JSON: a value of type bytes"),
    (
        {"when": datetime(2026, 1, 1, tzinfo=timezone.utc)},
        "payload['when'] cannot be written as JSON: a value of type",
    ),
    ({"a": math.nan}, "payload['a'] cannot be written as JSON: nan is not a JSON number"),
    ({"a": -math.inf}, "payload['a'] cannot be written as JSON: -inf is not a JSON number"),
    ({(1, 2): "x"}, "payload cannot be written as JSON: a key of type tuple"),
    ({"a": 10**5000}, "payload['a'] cannot be written as JSON: a number of too many digits"),
    (itself, "it is nested too deeply, or holds itself"),
    (lambda: 1, "payload cannot be written as JSON: a value of type function"),
    ("x" * 4_500_000, "payload has 4,500,002 bytes of JSON; Kernel takes at most 4,500,000"),
]
ARGUMENTS = [
    ({"app_name": ""}, "app_name is ''; it must be a name, and not empty"),
    ({"app_name": None}, "app_name is None; it must be a name, and not empty"),
    ({"app_name": "None"}, "app_name is 'None': a template probably found no value"),
    ({"action_name": 5}, "action_name is 5; it must be a name, and not empty"),
    ({"version": ["latest"]}, "version is ['latest']; it must be a name, and not empty"),
    ({"app_name": "x" * 501}, "; a name has 500 characters at most"),
    ({"app_name": {"a": "x" * 1000}}, "…; it must be a name, and not empty"),
    ({"async_timeout_seconds": 9}, "async_timeout_seconds is 9; Kernel takes whole seconds from 10 to 3600"),
    ({"async_timeout_seconds": "60"}, "async_timeout_seconds is '60'; Kernel takes whole seconds from 10 to 3600"),
    ({"async_timeout_seconds": True}, "async_timeout_seconds is True; Kernel takes whole seconds"),
]
FILTERS = [
    ({"app_name": 5}, "app_name is 5; it takes text"),
    ({"query": "a\ud800"}, "query is 'a\\ud800'; it takes text"),
    ({"status": ["failed"]}, "status is ['failed']; it takes text"),
    ({"since": "a\ud800"}, "since is 'a\\ud800'; it takes text"),
    ({"since": datetime(2026, 1, 1)}, "has no time zone; give an aware datetime"),
    ({"since": 5}, "since is of type int; give an aware datetime, or text such as '5m'"),
    ({"limit": 0}, "limit is 0; a page has 1 to 100 rows"),
    ({"limit": "5"}, "limit is '5'; a page has 1 to 100 rows"),
    ({"limit": True}, "limit is True; a page has 1 to 100 rows"),
    ({"offset": -1}, "offset is -1; it counts from 0"),
    ({"offset": None}, "offset is None; it counts from 0"),
]
CONNECTIONS = [
    ({"password": ""}, "There is no API key: put it into the API key (password) of the Airflow connection"),
    ({"password": None}, "There is no API key: put it into the API key (password) of the Airflow connection"),
    ({"password": 5}, "the password is of type int; it takes the API key, as text"),
    ({"password": f"{KEY}\nx"}, "The API key cannot be sent in an HTTP header: it takes printable ASCII"),
    ({"password": f"{KEY}ü"}, "The API key cannot be sent in an HTTP header: it takes printable ASCII"),
    ({"host": 5}, "the host is 5; it takes text"),
    ({"host": ["x"]}, "the host is ['x']; it takes text"),
    ({"host": "a b"}, "The host 'a b' of the Kernel connection cannot be used: it names no host"),
    ({"host": "ftp://a"}, "its scheme is 'ftp'; allowed are http and https"),
    ({"host": "a/b"}, "it has a path (/b); the API is at the root of its host"),
    ({"host": "a?b"}, "it has a query or a fragment"),
    ({"host": f"x:{KEY}@a"}, "it holds credentials; the API key belongs into the connection's password"),
    ({"host": "a:99999"}, "is no URL: Port out of range 0-65535"),
    ({"host": "a\x00b"}, "cannot be the name or address of a host"),
    ({"host": "x" * 5000}, "cannot be the name or address of a host"),
    ({"host": "http://["}, "is no URL"),
    ({"host": "a", "port": "x"}, "the port is 'x'; it takes a number from 1 to 65535"),
    ({"host": "a", "port": 70000}, "the port is 70000; it takes a number from 1 to 65535"),
    ({"host": "a", "port": -1}, "the port is -1; it takes a number from 1 to 65535"),
    ({"host": "a:1", "port": 2}, "names another port than the port field, which holds 2"),
    ({"extra": "{"}, "the extra is not a JSON object"),
    ({"extra": "[]"}, "the extra is not a JSON object"),
    ({"extra": "[" * 100_000}, "the extra is not a JSON object"),
    ({"extra": {"project": 5}}, "project in the extra is 5; it takes text"),
    ({"extra": {"project": "ü"}}, "project 'ü' cannot be sent in an HTTP header: it takes printable ASCII"),
    ({"extra": {"project": "x" * 501}}, "project has 501 characters; it takes 500 at most"),
    (
        {"extra": {"connect_timeout": "soon"}},
        "connect_timeout in the extra is 'soon'; it takes a number from 0.1 to 300",
    ),
    ({"extra": {"read_timeout": {"a": "x" * 999}}}, "…; it takes a number from 0.1 to 3600"),
    ({"extra": {"max_attempts": 1.5}}, "max_attempts in the extra is 1.5; it takes a whole number from 1 to 100"),
    ({"extra": {"verify_tls": 1}}, "verify_tls in the extra is 1; it takes text"),
    (
        {"extra": {"verify_tls": "/no/such/file"}},
        "verify_tls is '/no/such/file'; it takes true, false, or the path of",
    ),
    (
        {"extra": {"verify_tls": "/"}},
        "verify_tls is '/'; it takes true, false, or the path of a readable CA bundle",
    ),
    ({"extra": {"verify_tls": "a\x00b"}}, "verify_tls is 'a\\x00b'; it takes true, false, or the path of"),
]
OPERATORS = [
    ({"poll_interval": 0}, "poll_interval is 0; it takes seconds above 0"),
    ({"poll_interval": "10"}, "poll_interval is '10'; it takes seconds above 0"),
    ({"poll_interval": None}, "poll_interval is None; it takes seconds above 0"),
    ({"poll_interval": math.nan}, "poll_interval is nan; it takes seconds above 0"),
    ({"poll_interval": math.inf}, "poll_interval is inf; it takes seconds above 0"),
    ({"max_output_bytes": "1"}, "max_output_bytes is '1'; it takes a whole number from 0"),
    ({"max_output_bytes": -1}, "max_output_bytes is -1; it takes a whole number from 0"),
    ({"max_log_lines": 1.5}, "max_log_lines is 1.5; it takes a whole number from 0"),
    ({"output_as": "json"}, "output_as is 'json'; it takes 'value' or 'json_text'"),
    ({"output_as": ["value"]}, "output_as is ['value']; it takes 'value' or 'json_text'"),
    (
        {"multiple_outputs": True, "wait_for_completion": False},
        "multiple_outputs=True needs wait_for_completion=True: an id has no items to push",
    ),
    ({"output_as": None}, "output_as is None; it takes 'value' or 'json_text'"),
    (
        {"output_as": "json_text", "multiple_outputs": True},
        "multiple_outputs=True needs output_as='value': JSON text has no items to push",
    ),
]
BY_ID = {
    "get": requests.get_invocation,
    "update": lambda id_: requests.update_invocation(id_, "failed"),
    "browsers": requests.list_invocation_browsers,
    "delete": requests.delete_invocation_browsers,
    "follow": lambda id_: requests.follow_invocation(id_, since="2h"),
}


def create(**arguments):
    return requests.create_invocation(**{"app_name": "shop", "action_name": "buy", **arguments})


def connect(**fields):
    """Read a connection and create its client, as a hook does."""
    extra = fields.pop("extra", None)
    extra = extra if extra is None or isinstance(extra, str) else json.dumps(extra)
    connection = Connection(conn_id="my_kernel", conn_type="kernel", extra=extra, **{"password": KEY, **fields})
    KernelClient(config_from_connection(connection)).close()


def refused(error_class, act, *words):
    with pytest.raises(error_class) as caught:
        act()
    check(caught.value)
    for word in words:
        assert word in str(caught.value)


def check(error):
    """Check what holds for each refusal: it is readable, and holds no secret."""
    text = str(error)
    assert 20 < len(text) < 900
    assert text.isprintable()
    assert KEY not in f"{text}{error!r}"
    assert error.permanent


def names(table):
    # Numbered, because some inputs have no repr, and some a different one in each process.
    return [f"{number} {message[:40]}" for number, (_, message) in enumerate(table, start=1)]


class TestRefusals:
    @pytest.mark.parametrize("call", BY_ID)
    @pytest.mark.parametrize(("given", "message"), IDS, ids=names(IDS))
    def test_hostile_id_is_refused_with_a_clear_message(self, call, given, message):
        refused(KernelInputError, lambda: BY_ID[call](given), "invocation_id is ", "cannot be an id: ", message)

    @pytest.mark.parametrize(("payload", "message"), PAYLOADS, ids=names(PAYLOADS))
    def test_hostile_payload_is_refused_with_a_clear_message(self, payload, message):
        refused(KernelInputError, lambda: create(payload=payload), message)

    @pytest.mark.parametrize(("given", "message"), ARGUMENTS, ids=names(ARGUMENTS))
    def test_hostile_create_argument_is_refused_with_a_clear_message(self, given, message):
        refused(KernelInputError, lambda: create(**given), *given, message)

    @pytest.mark.parametrize(("given", "message"), FILTERS, ids=names(FILTERS))
    def test_hostile_list_filter_is_refused_with_a_clear_message(self, given, message):
        refused(KernelInputError, lambda: requests.list_invocations(**given), message)

    @pytest.mark.parametrize(("given", "message"), CONNECTIONS, ids=names(CONNECTIONS))
    def test_hostile_connection_is_refused_with_a_clear_message(self, given, message):
        refused(KernelConfigurationError, lambda: connect(**given), message)

    @pytest.mark.parametrize(("given", "message"), OPERATORS, ids=names(OPERATORS))
    def test_hostile_operator_argument_is_refused_when_the_dag_is_parsed(self, given, message):
        task = {"task_id": "t", "app_name": "shop", "action_name": "buy"}
        refused(KernelInputError, lambda: KernelInvokeOperator(**task, **given), message)


TEMPLATED = {
    "invoke": (KernelInvokeOperator, {"app_name": "{{ none }}", "action_name": "echo"}, "app_name is 'None'"),
    "complete": (KernelCompleteInvocationOperator, {"invocation_id": "{{ none }}"}, "invocation_id is 'None'"),
    "cancel": (KernelCancelInvocationOperator, {"invocation_id": "{{ none }}"}, "invocation_id is 'None'"),
    "update": (
        KernelUpdateInvocationOperator,
        {"invocation_id": "{{ none }}", "status": "failed"},
        "invocation_id is 'None'",
    ),
    "sensor": (KernelInvocationSensor, {"invocation_id": "{{ none }}"}, "invocation_id is 'None'"),
}


@pytest.mark.parametrize("name", TEMPLATED)
def test_template_that_renders_none_fails_the_task_without_retries_or_requests(name, run, kernel_emulator):
    operator, arguments, message = TEMPLATED[name]
    result = run(operator, **arguments)
    assert result.state == "failed"
    assert type(result.error).__name__ == "AirflowFailException"
    assert message in str(result.error)
    assert "check the XCom or conf that it reads" in str(result.error)
    assert kernel_emulator.journal == ()


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.binary(max_size=5)
    | st.sampled_from(["x" * 10_000, "None", "\x1b[31m", "\ud800", object(), itself, {1}, "a/b"])
    | st.builds(lambda: 10**5000)  # has no repr, in hypothesis either
    | st.datetimes(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=5) | st.integers() | st.none() | st.tuples(st.integers()), inner, max_size=3
        )
    ),
    max_leaves=6,
)
CALLS = {
    **{name: lambda value, call=call: call(value) for name, call in BY_ID.items()},
    "status": lambda value: requests.update_invocation("abc", value),
    "output": lambda value: requests.update_invocation("abc", "failed", value),
    **{
        name: lambda value, name=name: create(**{name: value})
        for name in ("app_name", "action_name", "version", "payload", "async_timeout_seconds")
    },
    **{
        f"filter {name}": lambda value, name=name: requests.list_invocations(**{name: value})
        for name in ("app_name", "status", "since", "query", "limit", "offset")
    },
    **{f"field {name}": lambda value, name=name: connect(**{name: value}) for name in ("host", "port", "schema")},
    **{
        f"extra {field.name}": lambda value, name=field.name: connect(extra={name: value}) for field in EXTRA_FIELDS
    },
}


def test_generated_inputs_are_taken_or_refused_with_a_clear_message(kernel_emulator, tell):
    tried = {"taken": 0, "refused": 0}
    unusable = (TypeError, ValueError, RecursionError)  # raised by json.dumps in this test

    @settings(max_examples=COUNT, deadline=None, derandomize=True, database=None)
    @given(st.sampled_from([*CALLS]), anything)
    def try_(name, value):
        if name.startswith("extra"):
            try:
                json.dumps(value)
            except unusable:
                value = repr(type(value))
        try:
            request = CALLS[name](value)
        except (KernelInputError, KernelConfigurationError) as error:
            check(error)
            tried["refused"] += 1
        else:
            # An accepted input can be sent: the transport builds a request from it.
            if request is not None:
                send(request)
            tried["taken"] += 1

    with KernelClient(_config(kernel_emulator)) as client:

        def send(request):
            client._transport().build(request)

        try_()
    assert min(tried.values()) > 0
    tell(f"generated inputs: {tried['taken']:,} taken, {tried['refused']:,} refused, 0 escapes")


def _config(emulator):
    fields = {"conn_id": "c", "conn_type": "kernel", "host": emulator.base_url, "password": emulator.api_key}
    return config_from_connection(Connection(**fields))
