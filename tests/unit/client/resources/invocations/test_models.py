from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest
from pydantic import TypeAdapter, ValidationError

from airflow_provider_kernel.client.resources.apps import AppVersion
from airflow_provider_kernel.client.resources.auth import AuthContext
from airflow_provider_kernel.client.resources.invocations.browser_models import Browser, BrowserList
from airflow_provider_kernel.client.resources.invocations.models import Invocation
from airflow_provider_kernel.client.resources.invocations.status import InvocationStatus
from airflow_provider_kernel.client.timestamps import parse_timestamp
from airflow_provider_kernel.client.unset import UNSET, Unset


def invocation(**fields):
    """Read an invocation from JSON, as a client does."""
    return Invocation.model_validate_json(json.dumps({"id": "abc", "status": "running", **fields}))


class TestStatus:
    @pytest.mark.parametrize(
        ("status", "final"),
        [
            ("queued", False),
            ("running", False),
            ("succeeded", True),
            ("failed", True),
            ("cancelled", False),
            ("Succeeded", False),
            ("", False),
        ],
    )
    def test_only_succeeded_and_failed_are_final_statuses(self, status, final):
        assert invocation(status=status).is_final is final

    @pytest.mark.parametrize(
        ("status", "sentence"),
        [
            ("queued", "is queued"),
            ("running", "is running"),
            ("succeeded", "has succeeded"),
            ("failed", "has failed"),
            ("timed_out", "is timed_out"),
        ],
    )
    def test_status_phrase_ends_a_sentence(self, status, sentence):
        assert invocation(status=status).status_phrase == sentence

    def test_status_phrase_of_an_unknown_end_names_it(self):
        ended = invocation(status="timed_out", finished_at="2026-05-19T15:30:00Z")
        assert ended.status_phrase == "has ended as timed_out"

    @pytest.mark.parametrize("status", InvocationStatus)
    def test_status_is_its_text(self, status):
        assert str(status) == f"{status}" == status.value == status


class TestTimestamps:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("2026-05-19T15:30:00Z", (15, 30, 0, 0)),
            ("2026-05-19T15:30:00.123456789Z", (15, 30, 0, 123456)),
            ("2026-05-19T15:30:00.000000999Z", (15, 30, 0, 0)),
            ("2026-05-19T15:30:00.5Z", (15, 30, 0, 500000)),
            ("2026-05-19T15:30:00.123456789+02:00", (13, 30, 0, 123456)),
            ("2026-05-19T15:30:00-02:30", (18, 0, 0, 0)),
            ("2026-05-19t15:30:00z", (15, 30, 0, 0)),
            ("2026-05-19 15:30:00Z", (15, 30, 0, 0)),
        ],
    )
    def test_timestamps_are_cut_to_microseconds(self, text, expected):
        assert parse_timestamp(text) == datetime(2026, 5, 19, *expected, tzinfo=timezone.utc)

    @pytest.mark.parametrize(
        "text",
        [
            None,
            "",
            "2024-05-19T15:30:00.000000000Z07:00",  # an example of the API's own documents
            "2026-05-19",
            "2026-05-19T15:30:00",
            "2026-05-19T15:30:00.Z",
            "2026-13-19T15:30:00Z",
            "2026-05-19T25:30:00Z",
            "2026-05-19T23:59:60Z",
            "0001-01-01T00:00:00+14:00",
            "0001-01-01T00:00:00Z",  # nothing can be taken from it
            "9999-12-31T23:59:59-23:59",  # nor added to this
            "2026-05-19T15:30:00+99:00",
            "yesterday",
        ],
    )
    def test_invalid_timestamp_is_none(self, text):
        assert parse_timestamp(text) is None

    def test_official_example_of_a_timestamp_is_kept_as_text(self):
        official = "2024-05-19T15:30:00.000000000Z07:00"
        taken = invocation(status="succeeded", started_at=official, finished_at=official)
        assert taken.started_at == taken.finished_at == official
        assert taken.seconds is None

    def test_seconds_of_an_invocation_count_from_start_to_end(self):
        ended = invocation(
            started_at="2026-05-19T15:30:00.250000001Z", finished_at="2026-05-19T16:31:01.750000002+01:00"
        )
        assert ended.seconds == 61.5

    @pytest.mark.parametrize(
        "fields",
        [{}, {"started_at": "2026-05-19T15:30:00Z"}, {"finished_at": "2026-05-19T15:30:00Z"}],
        ids=["neither", "started", "finished"],
    )
    def test_running_invocation_has_no_seconds(self, fields):
        assert invocation(**fields).seconds is None


class TestOutput:
    def test_parsed_output_of_none_is_none(self):
        assert invocation().parsed_output() is None
        assert invocation(output=None).parsed_output() is None

    @pytest.mark.parametrize(
        ("output", "value"),
        [
            ("null", None),
            ("0", 0),
            ("1.5", 1.5),
            ("1e300", 1e300),
            ("false", False),
            ('"x"', "x"),
            ("[]", []),
            (' {"a": [{"b": "😀"}]} ', {"a": [{"b": "😀"}]}),
        ],
    )
    def test_parsed_output_of_json_is_its_value(self, output, value):
        parsed = invocation(output=output).parsed_output()
        assert parsed == value
        assert type(parsed) is type(value)

    @pytest.mark.parametrize(
        "output",
        [
            "",
            "Error: the page did not load",
            '{"a": 1',
            "{'a': 1}",
            "NaN",
            "[1, NaN]",
            "-Infinity",
            "1e999",
            '{"a": -1e999}',
            "1" * 5000,
            "[" * 100_000,
            "[" * 100_000 + "]" * 100_000,
        ],
        ids=lambda output: output[:20],
    )
    def test_parsed_output_of_other_text_is_the_text(self, output):
        assert invocation(output=output).parsed_output() == output

    @pytest.mark.parametrize("value", [{"a": ["ä", 1.5, None]}, [1, 2], 0, 1.5, False], ids=repr)
    def test_output_that_is_no_string_is_kept_as_json(self, value):
        taken = invocation(output=value, payload=value)
        assert json.loads(taken.output) == json.loads(taken.payload) == value
        assert taken.parsed_output() == value

    def test_output_that_is_no_string_is_not_escaped_to_ascii(self):
        assert invocation(output={"ä": 1}).output == '{"ä": 1}'

    def test_text_of_an_output_is_not_changed(self):
        assert invocation(output=' {"b":1,  "a":2} ').output == ' {"b":1,  "a":2} '


class TestValidation:
    def test_short_answer_to_a_create_is_an_invocation(self):
        taken = invocation(action_name="buy", status="queued")
        assert (taken.id, taken.action_name, taken.status, taken.app_name) == ("abc", "buy", "queued", None)

    def test_unknown_fields_of_a_model_are_kept(self):
        assert invocation(region="eu").region == "eu"

    @pytest.mark.parametrize("field", ["app_name", "finished_at", "status_reason", "payload", "output"])
    def test_null_in_an_optional_field_is_accepted(self, field):
        assert getattr(invocation(**{field: None}), field) is None

    @pytest.mark.parametrize(
        "document",
        [
            {"status": "running"},
            {"id": "abc"},
            {"id": "", "status": "running"},
            {"id": 5, "status": "running"},
            {"id": "abc", "status": None},
            {"id": "abc", "status": ["running"]},
            [],
            None,
        ],
        ids=repr,
    )
    def test_invocation_without_id_or_status_is_refused(self, document):
        with pytest.raises(ValidationError):
            Invocation.model_validate_json(json.dumps(document))

    def test_invocation_is_immutable(self):
        with pytest.raises(ValidationError):
            invocation().status = "succeeded"

    @pytest.mark.parametrize(
        ("fields", "final", "failed"),
        [
            ({"status": "timed_out"}, False, False),
            ({"status": "timed_out", "finished_at": None}, False, False),
            ({"status": "timed_out", "finished_at": ""}, False, False),
            ({"status": "timed_out", "finished_at": "0001-01-01T00:00:00Z"}, False, False),
            ({"status": "timed_out", "finished_at": "2026-05-19T15:30:00Z"}, True, True),
            ({"status": "timed_out", "finished_at": "2024-05-19T15:30:00.000000000Z07:00"}, True, True),
            ({"status": "running", "finished_at": "2026-05-19T15:30:00Z"}, False, False),
            ({"status": "failed"}, True, True),
            ({"status": "succeeded"}, True, False),
        ],
    )
    def test_unknown_status_with_an_end_is_final_and_counts_as_failed(self, fields, final, failed):
        assert (invocation(**fields).is_final, invocation(**fields).has_failed) == (final, failed)

    def test_browser_needs_its_session_id_only(self):
        listed = BrowserList.model_validate_json('{"browsers": [{"session_id": "s1"}, {"session_id": "s2"}]}')
        assert [browser.session_id for browser in listed.browsers] == ["s1", "s2"]

    def test_app_version_has_its_actions(self):
        app = AppVersion.model_validate_json(
            '{"id": "1", "app_name": "shop", "version": "v2", "actions": [{"name": "buy", "input_schema": {}}]}'
        )
        assert [action.name for action in app.actions] == ["buy"]

    @pytest.mark.parametrize(
        ("authorization", "project_id"),
        [
            ({}, None),
            ({"effective_scope": {"project_id": None}}, None),
            ({"effective_scope": {"project_id": "proj_1"}, "credential_scope": {"project_id": "proj_2"}}, "proj_1"),
        ],
    )
    def test_project_of_a_key_is_its_effective_scope(self, authorization, project_id):
        document = {"organization": {"id": "org_1"}, "authorization": authorization}
        assert AuthContext.model_validate_json(json.dumps(document)).project_id == project_id


class TestRepr:
    SECRET = "s3cret"

    def test_repr_of_an_invocation_shows_no_data(self):
        taken = invocation(
            app_name="shop",
            payload=self.SECRET,
            output=self.SECRET,
            new_field=self.SECRET,
            another={"deep": [self.SECRET]},
        )
        for shown in (repr(taken), str(taken), repr([taken])):
            assert self.SECRET not in shown
            assert "id='abc'" in shown
            assert "app_name='shop'" in shown

    def test_repr_of_a_browser_shows_no_urls(self):
        url = f"wss://x/?jwt={self.SECRET}"
        browser = Browser(
            session_id="s1", cdp_ws_url=url, webdriver_ws_url=url, browser_live_view_url=url, new_url=url
        )
        for shown in (repr(browser), str(browser), repr(BrowserList(browsers=[browser]))):
            assert self.SECRET not in shown
            assert "session_id='s1'" in shown

    def test_repr_of_an_auth_context_shows_no_unknown_fields(self):
        context = TypeAdapter(AuthContext).validate_python(
            {"organization": {"id": "org_1", "token": self.SECRET}, "key": self.SECRET}
        )
        assert self.SECRET not in repr(context)
        assert "org_1" in repr(context)


def test_unset_is_false_and_not_none():
    assert UNSET is Unset.UNSET
    assert not UNSET
    assert UNSET is not None
    assert repr(UNSET) == "UNSET"
