"""What an app returns is data: another task gets it as it is, or the task that waited for it fails at once."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, strategies as st
from support.xcom_link import push_and_pull

from airflow_provider_kernel.client.resources.invocations.errors import KernelOutputError
from airflow_provider_kernel.client.resources.invocations.models import Invocation
from airflow_provider_kernel.xcom import MAX_DEPTH, as_json_text, find_unfit, hand_on, storable_text

CONNECTION = {"__type": "airflow.sdk.definitions.connection.Connection", "__var": {"conn_id": "evil"}}
PYTHON_OBJECT = "has keys that make Airflow take it for a Python object"


def nested(depth, opening="[", closing="]"):
    return opening * depth + closing * depth


#: JSON that XCom would not give back as it is, the place, and the problem.
UNFIT = {
    "class of Airflow": (json.dumps(CONNECTION), "$", PYTHON_OBJECT),
    "class of Airflow, deep inside": (
        json.dumps({"rows": [0, 1, {"page": CONNECTION}]}),
        "$.rows[2].page",
        PYTHON_OBJECT,
    ),
    "path of a file": (
        '[{"__type": "airflow.sdk.io.path.ObjectStoragePath", "__var": {"path": "file:///etc/hostname"}}]',
        "$[0]",
        PYTHON_OBJECT,
    ),
    "former form of a dict": ('{"__type": "dict", "__var": {"a": 1}}', "$", PYTHON_OBJECT),
    "former form of a tuple": ('{"__type": "tuple", "__var": [1]}', "$", PYTHON_OBJECT),
    "present form of an object": ('{"__classname__": "x", "__version__": 1, "__data__": 1}', "$", PYTHON_OBJECT),
    "only __classname__": ('{"page": {"__classname__": "hero"}}', "$.page", PYTHON_OBJECT),
    "__id__": ('{"a b": {"__id__": 1}}', "$['a b']", PYTHON_OBJECT),
    "half a surrogate pair": (r'{"title": "\ud800"}', "$.title", "has half of a surrogate pair"),
    "half a surrogate pair in a key": (r'[{"\udfff": 1}]', "$[0]", "has a key that has half of a surrogate pair"),
    "NUL": (r'{"rows": [1, {"title": "a\u0000b"}]}', "$.rows[1].title", "has the character NUL"),
    "NUL in a key": (r'{"\u0000": 1}', "$", "has a key that has the character NUL"),
    "integer above 64 bits": (str(2**64), "$", "is a number beyond 64 bits"),
    "integer below 64 bits": (f"[{-(2**63) - 1}]", "$[0]", "is a number beyond 64 bits"),
    "integer that Python does not read": (f'{{"n": {"9" * 5000}}}', "$.n", "is a number beyond 64 bits"),
    "float that comes back as an integer": ("[1e20]", "$[0]", "is a number beyond 64 bits"),
    "float that is no float": ('{"n": [1, 1e999]}', "$.n[1]", "is a number beyond 64 bits"),
    "lists that are too deep": (nested(MAX_DEPTH + 1), "$[0][0]", "is nested more than 90 levels deep"),
    "dicts that are too deep": ('{"a":' * 91 + "{}" + "}" * 91, "$.a.a", "is nested more than 90 levels deep"),
    "too deep for Python": (nested(100_000), "$", "is nested more than 90 levels deep"),
    "long key": (json.dumps({"ü" * 40_000: 1}), "$", "has a key of more than 65,535 bytes"),
}
#: The same for what looks like it and is no problem.
FIT = {
    "only __type": {"__type": "Date", "iso": "2026-01-01"},
    "only __var": {"__var": 1},
    "__version__ and __data__": {"__version__": 1, "__data__": 2, "__cache__": 3, "__source": 4},
    "names of classes as text": ["airflow.sdk.definitions.connection.Connection", "__type", "__var"],
    "integers of 64 bits": [2**64 - 1, -(2**63)],
    "large floats": [1e18, -9.2e18, 1e-320, 0.1],
    "lists of the greatest depth": json.loads(nested(MAX_DEPTH)),
    "dicts of the greatest depth": json.loads('{"a":' * 89 + '{"a": 1}' + "}" * 89),
    "text of a NUL": r"a\u0000b",
    "all planes": {"ü": "\U0010ffff\ufffe\x7f\x01"},
    "empty": [{}, [], "", {"": None}],
}


def succeeded(output):
    return Invocation(id="abc", status="succeeded", output=output)


def as_value(output, **arguments):
    return hand_on(
        succeeded(output), **{"output_as": "value", "is_pushed": True, "multiple_outputs": False, **arguments}
    )


def equal(got, value):
    """Return whether two values are equal. Postgres gives back 1e16 as an integer, with the same digits."""
    if isinstance(value, float):
        return type(got) in (int, float) and float(got) == value
    if isinstance(value, list):
        return type(got) is list and len(got) == len(value) and all(map(equal, got, value))
    if isinstance(value, dict):
        return (
            type(got) is dict and got.keys() == value.keys() and all(equal(got[key], value[key]) for key in value)
        )
    return type(got) is type(value) and got == value


def same(got, value):
    """Return whether two values are equal and of the same plain types."""
    return json.dumps(got) == json.dumps(value)


class TestValue:
    @pytest.mark.parametrize(("output", "place", "problem"), UNFIT.values(), ids=list(UNFIT))
    def test_output_that_xcom_would_change_or_refuse_is_refused_with_its_place(self, output, place, problem):
        with pytest.raises(KernelOutputError) as raised:
            as_value(output)
        text = str(raised.value)
        assert text.startswith("Invocation abc succeeded, but its output cannot be put into XCom: ")
        found, _, rest = text.partition("XCom: ")[2].partition(" " + problem)
        assert rest, text
        # Of a deep place, the start.
        assert found.startswith(place) if "deep" in problem else found == place
        assert text.endswith('. Set output_as="json_text" on the task to get the output as JSON text')
        assert raised.value.permanent
        assert text.isprintable()
        assert len(text) < 700

    @pytest.mark.parametrize("value", FIT.values(), ids=list(FIT))
    def test_output_that_only_looks_alike_is_handed_on(self, value):
        assert same(as_value(json.dumps(value)), value)
        assert equal(push_and_pull(value), value)

    @pytest.mark.parametrize("output", ["not {json", "", "NaN", "[NaN]", "[" * 100])
    def test_output_that_is_no_json_is_handed_on_as_text(self, output):
        assert as_value(output) == output

    def test_missing_output_is_none(self):
        assert as_value(None) is None

    def test_output_that_is_not_pushed_may_be_any_value(self):
        assert as_value(json.dumps(CONNECTION), is_pushed=False) == CONNECTION

    def test_place_in_an_output_is_bounded_and_has_no_control_characters(self):
        place, _ = find_unfit({"a\n\x1b[31m" * 1000: {"b" * 999: [{"c" * 39 + str(n): "\0"} for n in range(3)]}})
        assert place.startswith("$['a [31ma [31m")
        assert place.isprintable()
        deep = "\0"
        for _ in range(80):
            deep = {"key" * 10: deep}
        place, _ = find_unfit(deep)
        assert len(place) == 201

    @pytest.mark.parametrize(("output", "place", "problem"), UNFIT.values(), ids=list(UNFIT))
    def test_output_that_is_refused_as_a_value_is_handed_on_as_json_text(self, output, place, problem):
        text = as_value(output, output_as="json_text")
        assert push_and_pull(text) == text
        if place != "$" or "deep" not in problem:  # Python can read it
            assert json.loads(text, parse_int=str) == json.loads(output, parse_int=str)


#: Text with every kind of character, half surrogate pairs among them, and with names that Airflow knows.
TEXTS = st.one_of(
    st.text(st.characters(), max_size=8),
    st.sampled_from(["__type", "__var", "__classname__", "__version__", "__data__", "__id__", "dict", "a\0"]),
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**63 - 9, 2**64 + 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(TEXTS, children, max_size=4),
    max_leaves=20,
)


class TestGenerated:
    @given(VALUES)
    @example({"__type": "dict", "__var": {"__type": "dict", "__var": {}}})
    @example([-9.223372036854775808e18, 18446744073709549568.0, -9.223372036854775e18])
    def test_whatever_passes_the_check_comes_back_from_xcom_as_it_was(self, value):
        if find_unfit(value) is None:
            got = push_and_pull(value)
            assert equal(got, value)
            assert find_unfit(got) is None

    @given(VALUES | TEXTS)
    def test_json_text_of_any_output_is_ascii_and_comes_back_from_xcom(self, value):
        text = as_json_text(json.dumps(value, ensure_ascii=False))
        assert text.isascii()
        assert "\0" not in text
        assert push_and_pull(text) == text
        assert same(json.loads(text), value)

    @given(st.text(st.characters()))
    def test_text_of_the_api_is_made_storable(self, text):
        stored = storable_text(text)
        assert find_unfit(stored) is None
        if find_unfit(text) is None:
            assert stored == text


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (None, "null"),
        ("null", "null"),
        ("", '""'),
        ("plain text", '"plain text"'),
        ("NaN", '"NaN"'),
        ("a\0\ud800\n", r'"a\u0000\ud800\n"'),
        ('{"ü": "😀"}', r'{"\u00fc": "\ud83d\ude00"}'),
        ('"\ud800"', r'"\ud800"'),
        (" [1.10, 1e999]\n", " [1.10, 1e999]\n"),
        (nested(100_000), json.dumps(nested(100_000))),
    ],
    ids=range(10),
)
def test_json_text_of_an_output(output, text):
    assert as_json_text(output) == text


def test_text_of_the_api_is_bounded():
    assert storable_text("x" * 500) == "x" * 500
    assert len(storable_text("x" * 501)) == 501


class TestMultipleOutputs:
    @pytest.mark.parametrize(
        "key",
        [
            "invocation_id",
            "INVOCATION_ID",
            "return_value",
            "kernel_invocation_owner",
            "kernel_response_owner",
            "_link_KernelDashboardLink",
            "_link_KernelLiveViewLink",
            "_LINK_kerneldashboardlink",
        ],
    )
    def test_key_that_belongs_to_the_task_is_refused(self, key):
        with pytest.raises(KernelOutputError) as raised:
            as_value(json.dumps({"a": 1, key: "javascript:alert(1)"}), multiple_outputs=True)
        assert f"$.{key} is an XCom key that belongs to the task itself" in str(raised.value)
        assert "Rename the key in the action, or set multiple_outputs=False" in str(raised.value)

    @pytest.mark.parametrize(
        "key",
        [
            "",
            ".",
            "..",
            "../../t2/x",
            "a/b",
            "a?map_index=1",
            "a#",
            "%2e%2e",
            "invocation_id ",
            "a\n",
            "x" * 251,
            "😀",
        ],
    )
    def test_key_that_would_lead_to_another_xcom_is_refused(self, key):
        with pytest.raises(KernelOutputError, match="cannot be an XCom key of its own"):
            as_value(json.dumps({key: 1}), multiple_outputs=True)

    @pytest.mark.parametrize("output", ["[]", '"text"', "1", "plain text"])
    def test_output_without_items_is_refused(self, output):
        with pytest.raises(
            KernelOutputError, match=r"\$ is of type \w+, and multiple_outputs=True needs a JSON object"
        ):
            as_value(output, multiple_outputs=True)

    def test_other_keys_are_handed_on(self):
        value = {"a": 1, "first name": 2, "größe": 3, "x-y.z": 4, "invocation": 5, "nested": {"return_value": 6}}
        assert as_value(json.dumps(value), multiple_outputs=True) == value

    def test_missing_output_pushes_nothing(self):
        assert as_value(None, multiple_outputs=True) is None
