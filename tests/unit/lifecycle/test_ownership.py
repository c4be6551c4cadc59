"""The ownership record: what it names, and what of it is readable."""

from types import SimpleNamespace

import pytest

from airflow_provider_kernel.lifecycle.ledger import StartRecord
from airflow_provider_kernel.lifecycle.ownership import OwnershipPublisher, OwnershipRecord

OWNED = OwnershipRecord("i1", "token-1", 2, "kernel_default", is_owned=True)


class TaskInstance(SimpleNamespace):
    def xcom_push(self, key, value):
        self.xcoms[key] = value


@pytest.fixture
def ti():
    return TaskInstance(try_number=2, xcoms={})


def published(ti):
    return OwnershipRecord.parse(ti.xcoms["kernel_invocation_owner"])


def test_record_is_read_as_it_was_written(ti):
    publisher = OwnershipPublisher("invocation", ti, kernel_conn_id="kernel_default", is_owned=True)
    assert not publisher.has_published
    publisher.publish(StartRecord(token="token-1", external_id="i1"))
    assert publisher.has_published
    assert published(ti) == OWNED


def test_record_of_a_try_without_an_object_names_none(ti):
    OwnershipPublisher("invocation", ti, kernel_conn_id="c", is_owned=True).publish(None)
    assert published(ti) == OwnershipRecord(None, "", 2, "c", is_owned=True)
    assert not published(ti).names(StartRecord())


def test_record_may_say_that_an_object_outlives_its_task(ti):
    publisher = OwnershipPublisher("invocation", ti, kernel_conn_id="c", is_owned=True)
    publisher.publish(StartRecord.naming("i1"), is_owned=False)
    assert not published(ti).is_owned


@pytest.mark.parametrize(
    "stored",
    [None, "i1", [], {}, {**OWNED._asdict(), "try_number": "2"}, {**OWNED._asdict(), "external_id": 7}],
    ids=repr,
)
def test_record_that_cannot_be_read_is_none(stored):
    assert OwnershipRecord.parse(stored) is None


@pytest.mark.parametrize(
    ("record", "same"),
    [
        (StartRecord(external_id="i1", token="token-1"), True),
        (StartRecord(external_id="i1", token="token of a reconnected try"), True),
        (StartRecord(external_id="i2", token="token-1"), False),
        (StartRecord(token="token-1"), True),
        (StartRecord(token="token-2"), False),
        (StartRecord(), False),
    ],
    ids=repr,
)
def test_record_names_an_object_by_its_id_or_while_that_is_unknown_by_the_token_of_its_start(record, same):
    assert OWNED.names(record) is same
