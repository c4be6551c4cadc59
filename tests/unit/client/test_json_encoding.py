from __future__ import annotations

import json
import math
from collections import ChainMap, UserString, deque
from collections.abc import Sequence
from datetime import datetime, timezone
from decimal import Decimal
from types import MappingProxyType

import pytest

from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.client.json_encoding import size_in_bytes, to_json_text, to_plain


class TestWhatJSONCanHold:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ({"a": 1}, '{"a": 1}'),
            ([], "[]"),
            ("x", '"x"'),
            ("", '""'),
            ('{"a": 1}', '"{\\"a\\": 1}"'),
            (0, "0"),
            (1.5, "1.5"),
            (False, "false"),
            (None, "null"),
            ((1, 2), "[1, 2]"),
            ({1: "int", None: "none", False: "bool"}, '{"1": "int", "null": "none", "false": "bool"}'),
            ({"käse": ["🧀", "\n"]}, '{"käse": ["🧀", "\\n"]}'),
        ],
        ids=repr,
    )
    def test_value_is_written_as_json(self, value, text):
        assert to_json_text(value, what="payload") == text

    def test_lone_surrogate_survives_json(self):
        assert json.loads(to_json_text("\ud800", what="payload")) == "\ud800"


def itself():
    value: list = []
    value.append(value)
    return value


def deep(levels):
    value: list = []
    for _ in range(levels):
        value = [value]
    return value


class TestWhatJSONCannotHold:
    @pytest.mark.parametrize(
        ("value", "says"),
        [
            (math.nan, "payload cannot be written as JSON: nan is not a JSON number"),
            (math.inf, "payload cannot be written as JSON: inf is not a JSON number"),
            ({"a": [1, 2, -math.inf]}, "payload['a'][2] cannot be written as JSON: -inf is not a JSON number"),
            ({"a": [0, 1, {2}]}, "payload['a'][2] cannot be written as JSON: a value of type set"),
            (({"b": b"x"},), "payload[0]['b'] cannot be written as JSON: a value of type bytes"),
            ([Decimal(1)], "payload[0] cannot be written as JSON: a value of type Decimal"),
            ({"a": {("x", 1): 1}}, "payload['a'] cannot be written as JSON: a key of type tuple"),
            ({"at": datetime(2026, 1, 1, tzinfo=timezone.utc)}, "payload['at'] cannot be written as JSON"),
            ({"n": 10**5000}, "payload['n'] cannot be written as JSON: a number of too many digits"),
            ({math.nan: 1}, "payload cannot be written as JSON: Out of range float"),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_value_that_json_cannot_hold_is_refused_with_its_place(self, value, says):
        with pytest.raises(KernelInputError) as raised:
            to_json_text(value, what="payload")
        assert str(raised.value).startswith(says)

    @pytest.mark.parametrize("value", [itself(), deep(100_000)], ids=["itself", "deep"])
    def test_endless_nesting_is_refused_with_a_short_message(self, value):
        with pytest.raises(KernelInputError, match="it is nested too deeply, or holds itself") as raised:
            to_json_text(value, what="payload")
        assert str(raised.value).startswith("payload[0][0]")
        assert len(str(raised.value)) < 500

    def test_refused_json_value_names_the_alternatives(self):
        with pytest.raises(KernelInputError, match=r"turn dates into text, and NaN into None"):
            to_json_text(object(), what="payload")

    def test_refused_json_value_shows_no_other_values(self):
        with pytest.raises(KernelInputError) as raised:
            to_json_text({"password": "hunter2", "x": object()}, what="payload")
        assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(("text", "size"), [("", 0), ("a", 1), ("ä", 2), ("😀", 4), ("\ud800", 3)], ids=ascii)
def test_size_in_bytes_counts_utf_8(text, size):
    assert size_in_bytes(text) == size


class Fetched(Sequence):
    """A sequence that fetches its items, and counts that."""

    def __init__(self, items):
        self.items = items
        self.fetched = []

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        self.fetched.append(self.items[index])
        return self.items[index]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (MappingProxyType({"a": ChainMap({"b": 1})}), '{"a": {"b": 1}}'),
        ({"items": deque([1, deque()])}, '{"items": [1, []]}'),
        (range(3), "[0, 1, 2]"),
        (Fetched(["x", Fetched([None])]), '["x", [null]]'),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_mapping_and_any_sequence_is_written_as_json(value, text):
    assert to_json_text(value, what="payload") == text


def test_sequence_that_fetches_its_items_fetches_each_once():
    value = Fetched([1, 2, 3])
    to_json_text(value, what="payload")
    assert value.fetched == [1, 2, 3]


@pytest.mark.parametrize("value", [b"x", bytearray(b"x"), memoryview(b"x")], ids=lambda value: type(value).__name__)
def test_bytes_are_refused_with_what_to_do_instead(value):
    with pytest.raises(KernelInputError, match=r"payload\[0\] .* decode it, or write it as base64 text"):
        to_json_text(deque([value]), what="payload")


@pytest.mark.parametrize(
    "value", [{1}, (item for item in ()), UserString("x")], ids=lambda value: type(value).__name__
)
def test_what_is_no_mapping_and_no_sequence_stays_refused(value):
    with pytest.raises(KernelInputError, match=f"a value of type {type(value).__name__}"):
        to_json_text({"a": value}, what="payload")


def test_error_of_a_sequence_that_fetches_its_items_is_not_hidden():
    class Unreachable(Fetched):
        def __getitem__(self, index):
            raise ConnectionError("no answer")

    with pytest.raises(ConnectionError):
        to_json_text({"items": Unreachable([1])}, what="payload")


def test_plain_value_is_itself():
    value = {"a": [1, (2, {"b": None})]}
    assert to_plain(value) is value
    assert to_plain({"a": (range(2),)}) == {"a": ([0, 1],)}
