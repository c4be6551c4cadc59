"""Whether a process may end what it started: the table, and the question to Airflow."""

import threading
import time
from types import SimpleNamespace

import pytest
from support.triggerer import task_instance

from airflow_provider_kernel.lifecycle.fencing import ASK_SECONDS, Fence, may_end
from airflow_provider_kernel.lifecycle.ledger import Ledger, StartRecord
from airflow_provider_kernel.lifecycle.names import ownership_key
from airflow_provider_kernel.lifecycle.ownership import OwnershipPublisher, OwnershipRecord
from airflow_provider_kernel.lifecycle.task_instances import TaskState

OBJECT = StartRecord(token="start", external_id="object", try_number=1)


def ownership(external_id="object", start="start", try_number=1):
    return OwnershipRecord(external_id, start, try_number, kernel_conn_id="kernel_default", is_owned=True)


OURS = ownership()
SAME_OBJECT_OTHER_TRY = ownership(try_number=2)
SAME_START_OTHER_TRY = ownership(external_id=None, try_number=2)
OTHER_OBJECT_OTHER_TRY = ownership(external_id="another", start="another", try_number=2)
NO_OBJECT_OTHER_TRY = ownership(external_id=None, start="", try_number=2)

END_ANYWAY = ["gone", "removed", "failed", "success", "skipped", "upstream_failed", "restarting"]
IN_DOUBT = ["unknown", "up_for_reschedule", "awaiting_input"]
LEAVE_ANYWAY = ["up_for_retry", "none", "scheduled", "queued"]
BY_THE_RECORD = ["running", "deferred"]


@pytest.mark.parametrize("is_replaced", [True, False])
@pytest.mark.parametrize("found", [None, OURS, SAME_OBJECT_OTHER_TRY], ids=["none", "ours", "another try's"])
@pytest.mark.parametrize("state", END_ANYWAY + IN_DOUBT)
def test_process_ends_the_object_of_a_task_that_no_try_goes_on_with(state, found, is_replaced):
    assert may_end(TaskState(state), found, OBJECT, 1, is_replaced=is_replaced)


@pytest.mark.parametrize("is_replaced", [True, False])
@pytest.mark.parametrize("found", [None, OURS, SAME_OBJECT_OTHER_TRY], ids=["none", "ours", "another try's"])
@pytest.mark.parametrize("state", LEAVE_ANYWAY)
def test_process_leaves_the_object_to_a_try_that_follows(state, found, is_replaced):
    assert not may_end(TaskState(state), found, OBJECT, 1, is_replaced=is_replaced)


@pytest.mark.parametrize(
    ("found", "is_replaced", "expected"),
    [
        (OURS, True, True),
        (SAME_OBJECT_OTHER_TRY, True, False),
        (SAME_OBJECT_OTHER_TRY, False, False),
        (SAME_START_OTHER_TRY, True, False),
        (OTHER_OBJECT_OTHER_TRY, True, True),
        (NO_OBJECT_OTHER_TRY, True, True),
        (None, True, False),
        (None, False, True),
    ],
    ids=[
        "ours",
        "under another try",
        "under another try, this one had written none",
        "the start is under another try",
        "another object",
        "no object",
        "gone",
        "not written yet",
    ],
)
@pytest.mark.parametrize("state", BY_THE_RECORD)
def test_record_decides_about_the_object_of_an_active_task(state, found, is_replaced, expected):
    assert may_end(TaskState(state), found, OBJECT, 1, is_replaced=is_replaced) is expected


def test_object_whose_id_is_unknown_is_left_to_the_try_that_has_its_start():
    unknown = StartRecord(token="start", try_number=1)
    assert not may_end(TaskState.RUNNING, SAME_OBJECT_OTHER_TRY, unknown, 1, is_replaced=True)


def test_fencing_table_has_a_row_for_every_task_state():
    rows = [*END_ANYWAY, *IN_DOUBT, *LEAVE_ANYWAY, *BY_THE_RECORD]
    assert sorted(rows) == sorted(state.value for state in TaskState)


# --- the question -----------------------------------------------------------------------------------------------


@pytest.fixture
def supervisor(supervisor):
    supervisor.states["t"] = "running"
    return supervisor


@pytest.fixture
def publisher():
    publisher = OwnershipPublisher("invocation", task_instance(), kernel_conn_id="c", is_owned=True)
    publisher.has_published = True
    return publisher


@pytest.fixture
def fence(supervisor, publisher):
    fence = Fence("invocation", task_instance(), publisher)
    yield fence
    fence.close()


def put_record(supervisor, record):
    supervisor.xcoms["t", -1, ownership_key("invocation")] = record._asdict()


def test_fence_asks_airflow_by_names_on_a_thread_of_its_own(fence, supervisor):
    put_record(supervisor, OURS)
    answer = fence.ask(OBJECT)
    assert (answer.may_end, answer.state, answer.lines) == (True, TaskState.RUNNING, ())
    assert [type(message).__name__ for message in supervisor.asked] == ["GetTaskStates", "GetXCom"]


def test_fence_says_why_it_leaves_an_object_to_another_try(fence, supervisor):
    put_record(supervisor, SAME_OBJECT_OTHER_TRY)
    answer = fence.ask(OBJECT)
    assert not answer.may_end
    assert "leaves invocation object to another try of the task, which is running" in answer.lines[0][1]


def test_fence_leaves_the_object_of_a_task_that_airflow_has_just_reset(fence, supervisor):
    """A scheduler that comes back resets what the lost one had started, and schedules it a moment later."""
    supervisor.states["t"] = None
    assert not fence.ask(OBJECT).may_end


def test_fence_takes_a_wiped_record_for_that_of_a_next_try(fence, publisher):
    assert not fence.ask(OBJECT).may_end
    publisher.has_published = False
    assert fence.ask(OBJECT).may_end


class Store:
    """A task state store that holds one record, until Airflow has given the task instance another id."""

    def __init__(self):
        self.held = None
        self.is_replaced = False

    def get(self, key):
        return None if self.is_replaced else self.held

    def set(self, key, value):
        self.held = value


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def unpublished(supervisor, store):
    """The fence and the ledger of a try that has published nothing yet."""
    publisher = OwnershipPublisher("invocation", task_instance(), kernel_conn_id="c", is_owned=True)
    ti = SimpleNamespace(**vars(task_instance()), max_tries=1)
    ledger = Ledger("invocation", store, ti)
    fence = Fence("invocation", ti, publisher, ledger)
    yield fence, ledger
    fence.close()


def store_intent(ledger, store):
    ledger.record_intent("what")


def find(ledger, store):
    store.held = OBJECT._asdict()
    ledger.last()


@pytest.mark.parametrize("knows", [store_intent, find])
def test_fence_takes_a_record_that_the_store_does_not_show_any_more_for_the_start_of_a_next_try(
    knows, unpublished, store
):
    fence, ledger = unpublished
    knows(ledger, store)
    assert fence.ask(OBJECT).may_end
    store.is_replaced = True
    assert not fence.ask(OBJECT).may_end


def test_fence_ends_where_this_try_has_found_nothing_in_the_store_and_written_nothing(unpublished):
    fence, ledger = unpublished
    assert ledger.last() is None
    assert fence.ask(OBJECT).may_end


def test_fence_reads_no_ledger_where_there_is_an_ownership_record(unpublished, supervisor, store):
    fence, ledger = unpublished
    ledger.record_intent("what")
    store.is_replaced = True
    put_record(supervisor, OURS)
    assert fence.ask(OBJECT).may_end


def test_fence_needs_no_record_of_a_task_that_is_over(fence, supervisor):
    supervisor.states["t"] = "failed"
    assert fence.ask(OBJECT).may_end
    assert len(supervisor.asked) == 1


def test_fence_ends_in_time_when_airflow_does_not_answer(fence, supervisor):
    """The interrupted main thread may hold the lock of Airflow's calls."""
    released = threading.Event()
    supervisor.hold = lambda message: released.wait(30)
    try:
        began = time.monotonic()
        answer = fence.ask(OBJECT)
        assert ASK_SECONDS - 0.2 < time.monotonic() - began < ASK_SECONDS + 0.5
        assert (answer.may_end, answer.state) == (True, TaskState.UNKNOWN)
        assert "Airflow did not say" in answer.lines[0][1]
        assert "no answer in time" in answer.lines[0][1]
    finally:
        released.set()


def test_fence_ends_when_airflow_answers_with_an_error(fence, supervisor):
    def refuse(message):
        raise ConnectionError("the supervisor is gone")

    supervisor.hold = refuse
    answer = fence.ask(OBJECT)
    assert answer.may_end
    assert "the supervisor is gone" in answer.lines[0][1]


def test_fence_hands_context_variables_to_airflow(supervisor, publisher):
    import contextvars

    variable = contextvars.ContextVar("of_airflow", default="lost")
    variable.set("kept")
    seen = []
    supervisor.hold = lambda message: seen.append(variable.get())
    fence = Fence("invocation", task_instance(), publisher)
    fence.ask(OBJECT)
    assert set(seen) == {"kept"}
    fence.close()
