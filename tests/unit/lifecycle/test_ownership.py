"""The ownership record: what it names, what of it is readable, and what a deferred task waits for by it."""

import threading
from types import SimpleNamespace

import pytest
from airflow.sdk.execution_time import comms
from airflow.utils.state import TaskInstanceState
from support.dag_callbacks import ownership
from support.triggerer import task_instance

from airflow_provider_kernel.lifecycle.ledger import StartRecord
from airflow_provider_kernel.lifecycle.ownership import OwnershipPublisher, OwnershipRecord, is_deferred_on
from airflow_provider_kernel.lifecycle.task_instances import call_from_loop

OWNED = OwnershipRecord("i1", "token-1", 2, "kernel_default", is_owned=True)


@pytest.fixture
def ti():
    return SimpleNamespace(dag_id="d", task_id="t", run_id="r", map_index=-1, try_number=2)


@pytest.fixture
def publish(ti, supervisor):
    """Publish a record on a thread, as the stand-in for the supervisor asks, and read what is in XCom."""

    def publish(publisher, *arguments, **options):
        thread = threading.Thread(target=publisher.publish, args=arguments, kwargs=options)
        thread.start()
        thread.join()
        return OwnershipRecord.parse(supervisor.xcoms["t", -1, "kernel_invocation_owner"])

    return publish


def test_record_is_read_as_it_was_written(ti, publish):
    publisher = OwnershipPublisher("invocation", ti, kernel_conn_id="kernel_default", is_owned=True)
    assert not publisher.has_published
    assert publish(publisher, StartRecord(token="token-1", external_id="i1")) == OWNED
    assert publisher.has_published


def test_record_of_a_try_without_an_object_names_none(ti, publish):
    published = publish(OwnershipPublisher("invocation", ti, kernel_conn_id="c", is_owned=True), None)
    assert published == OwnershipRecord(None, "", 2, "c", is_owned=True)
    assert not published.names(StartRecord())


def test_record_may_say_that_an_object_outlives_its_task(ti, publish):
    publisher = OwnershipPublisher("invocation", ti, kernel_conn_id="c", is_owned=True)
    assert not publish(publisher, StartRecord.naming("i1"), is_owned=False).is_owned


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


@pytest.fixture
def deferred(supervisor):
    """Of the task ``t``, the plain one and two mapped ones are deferred, each on an invocation of its own."""
    supervisor.states.update({"t": "deferred", "t_0": "deferred", "t_1": "deferred"})
    for index in (-1, 0, 1):
        supervisor.xcoms["t", index, "kernel_invocation_owner"] = ownership(f"inv{index}")
    return supervisor


async def ask(invocation_id="inv-1", **ti):
    return await call_from_loop(lambda: is_deferred_on("invocation", task_instance(**ti), invocation_id))


async def test_task_deferred_on_this_invocation_is_deferred_on_it(deferred):
    assert await ask() is True


@pytest.mark.parametrize("map_index", [0, 1])
async def test_mapped_task_instance_is_deferred_on_its_own_invocation_only(map_index, deferred):
    assert await ask(f"inv{map_index}", map_index=map_index) is True
    assert await ask(f"inv{1 - map_index}", map_index=map_index) is False


async def test_task_deferred_on_another_invocation_is_not_deferred_on_this_one(deferred):
    assert await ask("another") is False


async def test_task_without_an_invocation_in_xcom_is_not_deferred_on_one(deferred):
    deferred.xcoms.clear()
    assert await ask() is False


@pytest.mark.parametrize("state", [s for s in TaskInstanceState if s != "deferred"] + [None])
async def test_task_in_another_state_is_not_deferred_and_its_xcom_is_not_read(state, deferred):
    deferred.states["t"] = state
    assert await ask() is False
    assert not [message for message in deferred.asked if message.type == "GetXCom"]


async def test_task_that_is_gone_is_not_deferred(deferred):
    deferred.states.clear()
    assert await ask() is False


async def test_deferred_on_takes_an_error_in_place_of_an_xcom_for_no_answer(deferred, monkeypatch):
    answer = deferred._answer
    monkeypatch.setattr(
        deferred,
        "_answer",
        lambda message: comms.ErrorResponse() if message.type == "GetXCom" else answer(message),
    )
    with pytest.raises(TypeError):
        await ask()


async def test_deferred_on_takes_an_error_in_place_of_a_state_for_no_answer(deferred, monkeypatch):
    monkeypatch.setattr(deferred, "_answer", lambda message: comms.ErrorResponse())
    with pytest.raises(AttributeError):
        await ask()
