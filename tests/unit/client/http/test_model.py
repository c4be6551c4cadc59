"""What of an answer's optional parts cannot be read is left out, and said once; what is needed is refused."""

from __future__ import annotations

from typing import ClassVar

import pytest
from pydantic import ValidationError

from airflow_provider_kernel.client.http import warn_once as module
from airflow_provider_kernel.client.http.log_filter import suppress_logs
from airflow_provider_kernel.client.http.model import ApiModel, JSONText, Rows, read_leniently


class Part(ApiModel):
    name: str
    size: int | None = None


class Whole(ApiModel):
    strict_fields: ClassVar[frozenset[str]] = frozenset({"output"})

    id: str
    label: str = "none"
    part: Part | None = None
    parts: Rows[Part] = []  # noqa: RUF012 (pydantic copies it)
    output: JSONText | None = None


@pytest.fixture(autouse=True)
def nothing_was_logged(monkeypatch):
    monkeypatch.setattr(module, "_logged", set())


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"label": 5}, Whole(id="x")),
        ({"label": None}, Whole(id="x")),
        ({"label": "\ud800"}, Whole(id="x")),
        ({"part": "odd"}, Whole(id="x")),
        ({"part": {"size": 1}}, Whole(id="x")),
        ({"part": {"name": "p", "size": "1"}}, Whole(id="x", part=Part(name="p"))),
        ({"parts": None}, Whole(id="x")),
        ({"parts": {"a": 1}}, Whole(id="x")),
        (
            {"parts": [{"name": "a", "size": 1.5}, {}, None, {"name": "b", "size": 2}]},
            Whole(id="x", parts=[Part(name="a"), Part(name="b", size=2)]),
        ),
        ({"output": "\ud800"}, Whole(id="x", output="\ud800")),
    ],
    ids=ascii,
)
def test_optional_part_that_cannot_be_read_is_left_out(fields, expected):
    assert read_leniently(Whole, {"id": "x", **fields}) == expected


@pytest.mark.parametrize("document", [None, [], {}, {"id": 5}, {"id": "x", "output": float}], ids=repr)
def test_document_without_what_is_needed_is_refused(document, monkeypatch):
    monkeypatch.setattr("airflow_provider_kernel.client.http.model.json.dumps", lambda value, **_: value)
    with pytest.raises(ValidationError):
        read_leniently(Whole, document)


def test_what_is_left_out_is_logged_once_without_any_text_of_the_server(caplog):
    for _ in range(3):
        read_leniently(Whole, {"id": "x", "label": ["s3cret"], "parts": [{"s3cret": 1}, 5], "part": None})
    assert [record.getMessage() for record in caplog.records] == [
        "The field Whole.label of an answer cannot be read, and counts as absent (logged once)",
        "An element of Whole.parts in an answer cannot be read, and is left out (logged once)",
    ]


def test_nothing_is_logged_where_a_log_call_could_block(caplog):
    with suppress_logs(True):
        read_leniently(Whole, {"id": "x", "label": 5})
    assert caplog.records == []
    read_leniently(Whole, {"id": "x", "label": 5})
    assert len(caplog.records) == 1
