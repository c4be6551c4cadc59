"""What a task remembers of a start, and what a record of another version is worth."""

from types import SimpleNamespace

import pytest

from airflow_provider_kernel.lifecycle.ledger import RECORD_VERSION, Ledger, StartRecord

RECORD = StartRecord(
    input_fingerprint="f",
    token="t",
    intended_at="2026-01-01T00:00:00.000001+00:00",
    try_number=1,
    max_tries=3,
    external_id="abc",
    predecessor_id="xyz",
)._asdict()


class Store(dict):
    """A task state store."""

    set = dict.__setitem__


@pytest.fixture
def store():
    return Store()


def ledger(store, *, try_number=1, max_tries=3, clear_number=0):
    ti = SimpleNamespace(try_number=try_number, max_tries=max_tries)
    return Ledger("invocation", store, ti, clear_number=clear_number)


def test_ledger_with_nothing_stored_has_no_record(store):
    assert ledger(store).last() is None


def test_ledger_of_the_next_try_reads_what_this_one_stored(store):
    first = ledger(store)
    intent = first.record_intent("f", predecessor_id="xyz")
    assert ledger(store, try_number=2).last() == intent
    started = first.record_start(intent, "abc")
    assert started == intent.with_id("abc")
    assert ledger(store, try_number=2).last() == started
    assert store["kernel_invocation"]["version"] == RECORD_VERSION
    first.close()
    assert ledger(store, try_number=2).last().is_closed


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"version": None},
        {"input_fingerprint": None},
        {"intended_at": "yesterday"},
        {"try_number": "1"},
        {"clear_number": None},
        {"is_closed": "no"},
        {"predecessor_id": 1},
    ],
    ids=str,
)
def test_record_that_cannot_be_read_still_names_what_was_started(change, store):
    store["kernel_invocation"] = {**RECORD, **change}
    assert ledger(store).last() == StartRecord.naming("abc")
    assert not ledger(store).last().is_readable


@pytest.mark.parametrize("name", [name for name in RECORD if name != "external_id"])
def test_record_that_lacks_a_field_still_names_what_was_started(name, store):
    store["kernel_invocation"] = {key: value for key, value in RECORD.items() if key != name}
    assert ledger(store).last() == StartRecord.naming("abc")


@pytest.mark.parametrize("stored", ["", "text", 0, [], {}, {"external_id": 7}, {"external_id": ""}], ids=repr)
def test_record_that_cannot_be_read_at_all_is_still_a_record(stored, store):
    store["kernel_invocation"] = stored
    last = ledger(store).last()
    assert last is not None
    assert not last.is_readable
    assert last.external_id is None


def test_ledger_close_leaves_a_record_of_another_version_as_it_is(store):
    before = store["kernel_invocation"] = {**RECORD, "version": 2}
    ledger(store).close()
    assert store["kernel_invocation"] is before


def test_ledger_close_does_not_fail_with_the_store(store, caplog):
    first = ledger(store)
    first.record_intent("f")
    store.set = None
    first.close()
    assert "Airflow did not store that this try has ended" in caplog.text


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
def test_ledger_close_by_a_later_try_keeps_what_a_closed_record_says(closed, store):
    first = ledger(store)
    first.record_intent("f")
    if closed:
        first.close()
    ledger(store, try_number=2).close(may_run_on=True)
    assert ledger(store, try_number=3).last().may_run_on is not closed


@pytest.mark.parametrize(
    ("try_number", "max_tries", "clear_number", "cleared"),
    [(2, 3, 1, False), (2, 4, 1, True), (1, 3, 1, True), (2, 3, 2, True), (2, 4, 2, True)],
    ids=["crashed", "cleared without the run", "made anew", "cleared while it ran", "cleared when it did not run"],
)
def test_numbers_of_tries_and_clears_distinguish_a_clear_from_a_crash(
    try_number, max_tries, clear_number, cleared, store
):
    record = ledger(store, clear_number=1).record_intent("f")
    next_try = ledger(store, try_number=try_number, max_tries=max_tries, clear_number=clear_number)
    assert next_try.belongs_to_cleared_try(record) is cleared


def test_record_that_a_try_takes_up_is_as_new_as_its_own(store):
    """A crash of a try that reconnected is no clear, whatever was cleared before it."""
    first = ledger(store).record_intent("f")
    ledger(store, try_number=2, clear_number=1).record_start(first, "abc")
    third = ledger(store, try_number=3, clear_number=1)
    assert not third.belongs_to_cleared_try(third.last())
