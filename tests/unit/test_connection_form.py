from __future__ import annotations

import json

import jsonschema
import pytest

from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.connection_form import (
    EXTRA_FIELDS,
    ExtraField,
    conn_fields,
    ui_field_behaviour,
)

NAMES = [
    "project",
    "connect_timeout",
    "read_timeout",
    "max_attempts",
    "max_retry_seconds",
    "verify_tls",
    "dashboard_url",
]


def test_the_fields_and_their_order():
    assert [field.name for field in EXTRA_FIELDS] == NAMES
    assert list(conn_fields()) == NAMES


def test_the_kinds_and_bounds():
    assert [(f.name, f.type, f.default, f.minimum, f.maximum) for f in EXTRA_FIELDS] == [
        ("project", "string", None, None, None),
        ("connect_timeout", "number", 5, 0.1, 300),
        ("read_timeout", "number", 60, 0.1, 3600),
        ("max_attempts", "integer", 5, 1, 100),
        ("max_retry_seconds", "number", 120, 0, 86400),
        ("verify_tls", "string", None, None, None),
        ("dashboard_url", "string", "https://dashboard.onkernel.com", None, None),
    ]


@pytest.mark.parametrize("field", EXTRA_FIELDS, ids=lambda field: field.name)
class TestEachField:
    def test_has_a_label_and_a_sentence(self, field):
        shown = conn_fields()[field.name]
        assert shown["label"] == field.label
        assert shown["description"] == field.description
        assert field.label
        assert field.description.endswith(".")

    def test_takes_null_which_the_form_posts_for_what_is_left_empty(self, field):
        jsonschema.validate(None, conn_fields()[field.name]["schema"])

    def test_takes_its_default(self, field):
        schema = conn_fields()[field.name]["schema"]
        assert schema["default"] == field.default
        jsonschema.validate(field.default, schema)

    def test_refuses_what_is_no_value_for_it(self, field):
        wrong = [[], {}, "x" if field.type != "string" else 5]
        wrong += [bound + step for bound, step in ((field.minimum, -1), (field.maximum, 1)) if bound is not None]
        for value in wrong:
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(value, conn_fields()[field.name]["schema"])


def test_a_number_s_line_says_its_range():
    for field in EXTRA_FIELDS:
        if field.type != "string":
            assert field.description.endswith(f", {field.minimum} to {field.maximum}.")


def test_nothing_secret_is_in_the_extra():
    # Airflow masks what is in the extra by these names only; a field with one of them would not belong there.
    from airflow.sdk._shared.secrets_masker import DEFAULT_SENSITIVE_FIELDS

    for field in EXTRA_FIELDS:
        assert not any(word in field.name for word in DEFAULT_SENSITIVE_FIELDS)
        assert "format" not in field.conn_field()["schema"]


def test_what_the_form_begins_with_is_nothing_that_airflow_would_warn_of():
    # Airflow masks each text in an extra, and tells each task's log of those that are too short for that.
    from airflow.sdk._shared.secrets_masker import SecretsMasker

    for field in EXTRA_FIELDS:
        assert not isinstance(field.default, str) or len(field.default) >= SecretsMasker().min_length_to_mask


def test_bounds_belong_to_the_schema_only_where_there_are_some():
    assert ExtraField("a", "A", "A.", type="number", minimum=0, maximum=2).conn_field()["schema"] == {
        "type": ["number", "null"],
        "default": None,
        "minimum": 0,
        "maximum": 2,
    }
    assert ExtraField("a", "A", "A.").conn_field()["schema"] == {"type": ["string", "null"], "default": None}


def test_defaults_are_those_of_a_client():
    defaults = {field.name: field.default for field in EXTRA_FIELDS}
    config = KernelConfig("sk-test")
    assert (
        defaults["project"],
        defaults["connect_timeout"],
        defaults["read_timeout"],
        defaults["max_attempts"],
        defaults["max_retry_seconds"],
        defaults["dashboard_url"],
    ) == (
        config.project,
        config.connect_timeout,
        config.read_timeout,
        config.retry.max_attempts,
        config.retry.max_seconds,
        config.dashboard_url,
    )


class TestStandardFields:
    def test_the_password_is_the_key_and_the_host_the_base_url(self):
        assert ui_field_behaviour() == {
            "hidden-fields": ["schema", "login", "extra"],
            "relabeling": {"password": "API key", "host": "Base URL"},
            "placeholders": {
                "host": "https://api.onkernel.com if left empty",
                "password": "from Kernel's dashboard, such as sk_...",
                "port": "443; if empty, Airflow refuses the Test button",
            },
        }

    def test_a_reader_cannot_change_them_for_the_next(self):
        ui_field_behaviour()["hidden-fields"].clear()
        ui_field_behaviour()["relabeling"].clear()
        ui_field_behaviour()["placeholders"].clear()
        conn_fields()["project"]["schema"].clear()
        assert all(ui_field_behaviour().values())
        assert conn_fields()["project"]["schema"]


def test_all_of_it_can_be_written_as_json():
    assert json.loads(json.dumps([conn_fields(), ui_field_behaviour()])) == [conn_fields(), ui_field_behaviour()]
