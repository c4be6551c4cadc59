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
    "owner",
]


def test_connection_form_has_these_fields_in_this_order():
    assert [field.name for field in EXTRA_FIELDS] == NAMES
    assert list(conn_fields()) == NAMES


def test_connection_form_has_these_types_defaults_and_bounds():
    assert [(f.name, f.type, f.default, f.minimum, f.maximum) for f in EXTRA_FIELDS] == [
        ("project", "string", None, None, None),
        ("connect_timeout", "number", 5, 0.1, 300),
        ("read_timeout", "number", 60, 0.1, 3600),
        ("max_attempts", "integer", 5, 1, 100),
        ("max_retry_seconds", "number", 120, 0, 86400),
        ("verify_tls", "string", None, None, None),
        ("dashboard_url", "string", "https://dashboard.onkernel.com", None, None),
        ("owner", "string", None, None, None),
    ]


@pytest.mark.parametrize("field", EXTRA_FIELDS, ids=lambda field: field.name)
class TestEachField:
    def test_form_field_has_a_label_and_a_description(self, field):
        shown = conn_fields()[field.name]
        assert shown["label"] == field.label
        assert shown["description"] == field.description
        assert field.label
        assert field.description.endswith(".")

    def test_form_field_allows_null_which_the_form_posts_for_an_empty_field(self, field):
        jsonschema.validate(None, conn_fields()[field.name]["schema"])

    def test_form_field_allows_its_default(self, field):
        schema = conn_fields()[field.name]["schema"]
        assert schema["default"] == field.default
        jsonschema.validate(field.default, schema)

    def test_form_field_refuses_wrong_types_and_numbers_out_of_bounds(self, field):
        wrong = [[], {}, "x" if field.type != "string" else 5]
        wrong += [bound + step for bound, step in ((field.minimum, -1), (field.maximum, 1)) if bound is not None]
        for value in wrong:
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(value, conn_fields()[field.name]["schema"])


def test_description_of_a_number_names_its_range():
    for field in EXTRA_FIELDS:
        if field.type != "string":
            assert field.description.endswith(f", {field.minimum} to {field.maximum}.")


def test_extra_has_no_field_with_a_sensitive_name():
    # Airflow masks values in an extra by these names; such a field would belong into the password.
    from airflow.sdk._shared.secrets_masker import DEFAULT_SENSITIVE_FIELDS

    for field in EXTRA_FIELDS:
        assert not any(word in field.name for word in DEFAULT_SENSITIVE_FIELDS)
        assert "format" not in field.conn_field()["schema"]


def test_default_texts_are_long_enough_for_airflows_secrets_masker():
    # Airflow masks each text in an extra, and warns in each task's log of texts that are too short to mask.
    from airflow.sdk._shared.secrets_masker import SecretsMasker

    for field in EXTRA_FIELDS:
        assert not isinstance(field.default, str) or len(field.default) >= SecretsMasker().min_length_to_mask


def test_schema_holds_bounds_only_if_the_field_has_some():
    assert ExtraField("a", "A", "A.", type="number", minimum=0, maximum=2).conn_field()["schema"] == {
        "type": ["number", "null"],
        "default": None,
        "minimum": 0,
        "maximum": 2,
    }
    assert ExtraField("a", "A", "A.").conn_field()["schema"] == {"type": ["string", "null"], "default": None}


def test_form_defaults_equal_the_clients_defaults():
    defaults = {field.name: field.default for field in EXTRA_FIELDS}
    config = KernelConfig("sk-test-key")
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
    def test_standard_fields_are_relabeled_hidden_and_have_placeholders(self):
        assert ui_field_behaviour() == {
            "hidden-fields": ["schema", "login", "extra"],
            "relabeling": {"password": "API key", "host": "Base URL"},
            "placeholders": {
                "host": "https://api.onkernel.com if left empty",
                "password": "from Kernel's dashboard, such as sk_...",
                "port": "443; if empty, Airflow refuses the Test button",
            },
        }

    def test_changing_a_returned_form_does_not_change_the_next_one(self):
        ui_field_behaviour()["hidden-fields"].clear()
        ui_field_behaviour()["relabeling"].clear()
        ui_field_behaviour()["placeholders"].clear()
        conn_fields()["project"]["schema"].clear()
        assert all(ui_field_behaviour().values())
        assert conn_fields()["project"]["schema"]


def test_connection_form_is_valid_json():
    assert json.loads(json.dumps([conn_fields(), ui_field_behaviour()])) == [conn_fields(), ui_field_behaviour()]
