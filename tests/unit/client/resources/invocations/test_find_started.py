"""Which of the listed invocations a lost start may have started."""

from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_kernel.client.errors import KernelAmbiguousStartError
from airflow_provider_kernel.client.flow import Sleep
from airflow_provider_kernel.client.http.pagination import Page, UnreadableRow
from airflow_provider_kernel.client.resources.invocations import requests
from airflow_provider_kernel.client.resources.invocations.find_started import (
    StartCriteria,
    find_started,
    single_match,
)
from airflow_provider_kernel.client.resources.invocations.models import Invocation

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
PAYLOAD = '{"a": 1, "ü": null}'
ASKED = StartCriteria("shop", "buy", "latest", PAYLOAD)


def listed(name="x", *, started=NOON, **fields):
    return Invocation(
        **{
            "id": name,
            "status": "running",
            "app_name": "shop",
            "action_name": "buy",
            "version": "latest",
            "payload": PAYLOAD,
            "started_at": started.isoformat().replace("+00:00", "Z"),
            **fields,
        }
    )


def found_in(pages, *, server_time=NOON, now=NOON, since=NOON, patience=0.0, excluded=frozenset(), asked=ASKED):
    """Run the flow over pages of the list; return the ids that it found, and its steps."""
    flow = find_started(asked, since=since, now=now, patience=patience, excluded=excluded)
    steps = []
    answers = iter(pages)
    try:
        step = next(flow)
        while True:
            steps.append(step)
            if isinstance(step, Sleep):
                step = flow.send(None)
            else:
                items, next_offset = next(answers)
                rows = tuple(item for item in items if isinstance(item, Invocation))
                unreadable = tuple(item for item in items if isinstance(item, UnreadableRow))
                step = flow.send(Page(rows, next_offset, server_time, unreadable))
    except StopIteration as end:
        return [invocation.id for invocation in end.value], steps


def test_start_criteria_are_read_from_the_request():
    request = requests.create_invocation("shop", "buy", payload={"a": 1, "ü": None}, version="v2")
    assert StartCriteria.by(request) == StartCriteria("shop", "buy", "v2", PAYLOAD)
    assert StartCriteria.by(requests.create_invocation("shop", "buy")) == StartCriteria(
        "shop", "buy", "latest", None
    )


@pytest.mark.parametrize(
    ("fields", "matches"),
    [
        ({}, True),
        ({"status": "succeeded"}, True),
        ({"status": "failed"}, True),
        ({"version": "1.2.3"}, True),  # latest may be listed as what it resolves to
        ({"app_name": "other"}, False),
        ({"action_name": "other"}, False),
        ({"app_name": "Shop", "action_name": "BUY"}, True),  # the server may have its own case
        ({"payload": '{"a":1,"ü":null}'}, False),  # byte for byte
        ({"payload": None}, False),
        ({"app_name": None, "action_name": None}, True),  # the list is of one action
    ],
    ids=str,
)
def test_start_criteria_match_byte_for_byte(fields, matches):
    assert ASKED.matches(listed(**fields)) is matches


def test_start_criteria_match_a_named_version_only():
    asked = StartCriteria("shop", "buy", "v2", PAYLOAD)
    assert asked.matches(listed(version="v2"))
    assert not asked.matches(listed(version="v1"))
    assert asked.matches(listed(version=None))


def test_start_criteria_without_payload_match_an_empty_one():
    asked = StartCriteria("shop", "buy", "latest", None)
    assert asked.matches(listed(payload=None))
    assert asked.matches(listed(payload=""))
    assert not asked.matches(listed(payload="null"))


@pytest.mark.parametrize(
    ("payload", "matches"),
    [
        ('{"_airflow": {"token": "mine"}}', True),
        ('{"other": 1, "_airflow": {"token": "mine", "try_number": 2}}', True),
        ('{"_airflow": {"token": "theirs"}}', False),
        ('{"_airflow": "mine"}', False),
        ('{"token": "mine"}', False),
        ("not json", False),
        (None, False),
    ],
)
def test_start_criteria_with_a_mark_match_the_mark_alone(payload, matches):
    asked = StartCriteria("shop", "buy", "latest", PAYLOAD, correlation=("_airflow", "mine"))
    assert asked.matches(listed(payload=payload)) is matches


@pytest.mark.parametrize("skew", [timedelta(0), timedelta(hours=3), timedelta(hours=-3)], ids=str)
def test_search_for_a_start_uses_the_clock_of_the_server(skew):
    before, after = NOON + skew - timedelta(seconds=10), NOON + skew + timedelta(seconds=1)
    page = [listed("before", started=before), listed("after", started=after)]
    assert found_in([(page, None)], server_time=NOON + skew)[0] == ["after"]


def test_search_for_a_start_without_server_time_allows_clock_skew():
    page = [
        listed("long before", started=NOON - timedelta(minutes=6)),
        listed("perhaps", started=NOON - timedelta(minutes=4)),
    ]
    assert found_in([(page, None)], server_time=None)[0] == ["perhaps"]


def test_invocation_with_an_unreadable_start_time_is_found():
    assert found_in([([listed(started_at="?")], None)])[0] == ["x"]


def test_search_for_a_start_reads_all_pages_and_counts_a_shifted_row_once():
    found, steps = found_in([([listed("a"), listed("b")], 2), ([listed("b"), listed("c")], None)])
    assert found == ["a", "b", "c"]
    assert [dict(step.query)["offset"] for step in steps] == ["0", "2"]


def test_search_for_a_start_lists_one_action_since_before_the_intent():
    _, (step,) = found_in([([], None)])
    assert dict(step.query) == {
        "app_name": "shop",
        "action_name": "buy",
        "since": "2026-01-01T11:55:00Z",
        "limit": "100",
        "offset": "0",
    }


def test_excluded_invocations_are_not_found():
    assert found_in([([listed("theirs"), listed("mine")], None)], excluded=frozenset({"theirs"}))[0] == ["mine"]


def test_search_for_a_start_repeats_until_one_is_found():
    found, steps = found_in([([], None), ([], None), ([listed()], None)], patience=5.0)
    assert found == ["x"]
    assert [isinstance(step, Sleep) for step in steps] == [False, True, False, True, False]


def test_search_for_a_start_ends_after_its_patience():
    found, steps = found_in([([], None)] * 4, patience=3.0)
    assert found == []
    assert sum(step.seconds for step in steps if isinstance(step, Sleep)) == 3.0


def row(**document):
    return UnreadableRow("status", {"id": "x", "started_at": NOON.isoformat(), "payload": PAYLOAD, **document})


MARKED = StartCriteria("shop", "buy", "latest", PAYLOAD, correlation=("_airflow", "mine"))


@pytest.mark.parametrize(
    ("unreadable", "asked"),
    [
        (row(), ASKED),
        (row(id=5), ASKED),
        (row(started_at=5), ASKED),
        (UnreadableRow("it is too large"), ASKED),
        (UnreadableRow("it is no object", 5), ASKED),
        (row(payload='{"_airflow": {"token": "mine"}}'), MARKED),
        (row(payload=5), MARKED),
        (UnreadableRow("it is too large"), MARKED),
    ],
    ids=str,
)
def test_unreadable_row_may_be_what_was_started(unreadable, asked):
    """Unknown is not absent: "nothing was started" would start a second one."""
    with pytest.raises(KernelAmbiguousStartError, match=r"1 rows of the list .* may be what was started"):
        found_in([([unreadable], None)], asked=asked)


@pytest.mark.parametrize(
    ("unreadable", "asked"),
    [
        (row(id="theirs"), ASKED),
        (row(started_at=(NOON - timedelta(minutes=1)).isoformat()), ASKED),
        (row(payload='{"_airflow": {"token": "theirs"}}'), MARKED),
        (row(payload='{"a": 1}'), MARKED),
    ],
    ids=str,
)
def test_unreadable_row_that_is_certainly_another_one_does_not_matter(unreadable, asked):
    assert found_in([([unreadable], None)], asked=asked, excluded=frozenset({"theirs"}))[0] == []


def test_unreadable_row_beside_equal_bytes_is_ambiguous_and_beside_the_mark_is_not():
    with pytest.raises(KernelAmbiguousStartError):
        found_in([([listed("x"), row(id="y")], None)])
    ours = listed("x", payload='{"_airflow": {"token": "mine"}}')
    assert found_in([([ours, UnreadableRow("it is too large")], None)], asked=MARKED)[0] == ["x"]


def test_search_for_a_start_repeats_while_a_row_cannot_be_read():
    found, _ = found_in([([row()], None), ([listed("x")], None)], patience=5.0)
    assert found == ["x"]


def test_single_match_is_the_one_or_none():
    assert single_match([]) is None
    assert single_match([listed()]).id == "x"


def test_single_match_refuses_several_and_names_them():
    with pytest.raises(KernelAmbiguousStartError, match=r"a \(running\), b \(succeeded\)"):
        single_match([listed("a"), listed("b", status="succeeded")])
