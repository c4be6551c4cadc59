"""The owner of a remote object: the table of its states, and what follows from it against the emulator."""

import logging
import threading
import time
from itertools import product
from types import SimpleNamespace

import pytest

from airflow_provider_kernel.client.client import KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.errors import (
    KernelAmbiguousStartError,
    KernelBadRequestError,
    KernelInvocationKilledError,
)
from airflow_provider_kernel.client.resources.invocations.requests import create_invocation
from airflow_provider_kernel.lifecycle.kill import IN_FLIGHT_SECONDS, KILL_SECONDS
from airflow_provider_kernel.lifecycle.ledger import Ledger
from airflow_provider_kernel.lifecycle.owner import Owner
from airflow_provider_kernel.lifecycle.resource import EndReason, Ownership, StartMark
from airflow_provider_kernel.lifecycle.transitions import TRANSITIONS, Action, Event, State
from airflow_provider_kernel.owned.invocation import OwnedInvocation
from airflow_provider_kernel.testing import Fault

#: Every state x every event: the next state, and the action. A dot: nothing changes.
GRID = """
             IDLE              STARTING                OWNED                ENDING                     ENDING_URGENTLY         ENDED                RELEASED
START        STARTING/CREATE   .                       .                    .                          .                       .                    .
KNOWN        OWNED             OWNED                   OWNED                .                          ENDING_URGENTLY/END     ENDING_URGENTLY/END  .
LOST         .                 OWNED                   .                    .                          ENDING_URGENTLY/END     .                    .
ABSENT       .                 IDLE                    IDLE                 .                          ENDED                   .                    .
RELEASE      .                 .                       RELEASED             .                          .                       .                    .
END          ENDED             ENDING_URGENTLY/RESCUE  ENDING/END           .                          .                       .                    .
KILL         ENDED             ENDING_URGENTLY         ENDING_URGENTLY/END  ENDING_URGENTLY/OVERTAKE   .                       .                    .
OVERDUE      .                 .                       .                    .                          ENDING_URGENTLY/RESCUE  .                    .
ENDED        .                 .                       ENDED                ENDED                      ENDED                   .                    .
END_FAILED   .                 .                       .                    OWNED                      OWNED                   .                    .
"""  # noqa: E501


def grid():
    (header, *rows) = [line.split() for line in GRID.strip().splitlines()]
    for event, *cells in rows:
        for state, cell in zip(header, cells, strict=True):
            yield State[state], Event[event], cell


@pytest.mark.parametrize(
    ("state", "event", "cell"), [*grid()], ids=lambda value: getattr(value, "name", str(value))
)
def test_transition_of_the_owner(state, event, cell):
    after, action = TRANSITIONS.get((state, event), (state, None))
    if cell == ".":
        assert (state, event) not in TRANSITIONS
    else:
        assert "/".join([after.name, *([action.name] if action else [])]) == cell


def test_transition_grid_has_every_state_and_every_event():
    assert {(state, event) for state, event, _ in grid()} == set(product(State, Event))


def test_transition_table_has_an_end_under_way_after_every_kill():
    for state in State:
        after, _ = TRANSITIONS.get((state, Event.KILL), (state, None))
        assert after in (State.ENDING_URGENTLY, State.ENDED, State.RELEASED)


def test_transition_table_orders_every_end_or_waits_for_the_create():
    entered = {
        (state, event): action
        for (state, event), (after, action) in TRANSITIONS.items()
        if after in (State.ENDING, State.ENDING_URGENTLY) and after is not state
    }
    assert {pair for pair, action in entered.items() if action is None} == {(State.STARTING, Event.KILL)}


def test_transition_table_creates_from_idle_only():
    creating = [pair for pair, (_, action) in TRANSITIONS.items() if action is Action.CREATE]
    assert creating == [(State.IDLE, Event.START)]


# --- against the emulator ---------------------------------------------------------------------------------------

LONG = 20.0


@pytest.fixture
def config(kernel_emulator):
    return KernelConfig(kernel_emulator.api_key, kernel_emulator.base_url)


@pytest.fixture
def make_owner(config):
    owners = []
    ti = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=1, max_tries=0)

    def make(ownership=Ownership.TASK, *, action="hang", payload=1):
        def build(payload):
            return create_invocation("demo", action, payload=payload)

        resource = OwnedInvocation(build, payload=payload, correlation_key=None, ti=ti)
        owner = Owner(resource, config, ownership=ownership)
        record = Ledger("invocation", None, ti).record_intent(resource.input_fingerprint())
        owners.append(owner)
        return owner, record, StartMark.of(ti, record.token)

    yield make
    for owner in owners:
        owner.close()


@pytest.fixture
def owned(make_owner):
    """Own a running invocation."""
    owner, record, mark = make_owner()
    owner.start(record, mark)
    return owner


@pytest.fixture
def retries():
    """Set once the client waits before it sends a request again."""
    waits = threading.Event()
    handler = logging.Handler()
    handler.emit = lambda record: waits.set() if "next one in" in record.getMessage() else None
    logger = logging.getLogger("airflow_provider_kernel.client")
    logger.addHandler(handler)
    yield waits
    logger.removeHandler(handler)


def in_thread(function, *arguments):
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


def duration(function, *arguments):
    began = time.monotonic()
    function(*arguments)
    return time.monotonic() - began


def test_kill_in_the_backoff_of_an_end_still_ends(owned, kernel_emulator, retries):
    """B1: the process has 5 s left, and the ordinary end would send its next attempt after them."""
    kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", status=503, headers={"Retry-After": "60"}))
    ending = in_thread(owned.end, "the task failed")
    assert retries.wait(LONG)
    assert duration(owned.kill) < KILL_SECONDS
    assert kernel_emulator.invocation(owned.external_id).status == "failed"
    ending.join(LONG)
    assert not ending.is_alive()


def test_kill_while_an_end_waits_for_an_answer_still_ends(owned, kernel_emulator):
    hangs = kernel_emulator.add_fault(Fault("GET", "/invocations/*", nth=1, hold=True))
    ending = in_thread(owned.end, "the task failed")
    kernel_emulator.wait_for("GET", "/invocations/*")
    assert duration(owned.kill) < KILL_SECONDS
    assert kernel_emulator.invocation(owned.external_id).status == "failed"
    ending.join(LONG)
    assert not ending.is_alive()
    hangs.release()


def test_failed_end_is_ordered_anew(owned, kernel_emulator, caplog):
    kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", nth=1, status=400))
    owned.end("the task failed")
    assert kernel_emulator.invocation(owned.external_id).status == "running"
    assert f"Invocation {owned.external_id} could not be cancelled" in caplog.text
    owned.end("the task failed")
    assert kernel_emulator.invocation(owned.external_id).status == "failed"


def test_second_kill_orders_a_failed_end_anew(owned, kernel_emulator):
    kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", nth=1, status=400))
    assert duration(owned.kill) < IN_FLIGHT_SECONDS
    assert kernel_emulator.invocation(owned.external_id).status == "running"
    owned.kill()
    assert kernel_emulator.invocation(owned.external_id).status == "failed"


def test_end_after_a_kill_that_failed_is_ordered_anew(owned, kernel_emulator):
    kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", nth=1, status=400))
    owned.kill()
    owned.end("the task failed")
    assert kernel_emulator.invocation(owned.external_id).status == "failed"


def test_second_kill_after_an_end_sends_nothing(owned, kernel_emulator):
    owned.kill()
    sent = len(kernel_emulator.journal)
    assert duration(owned.kill) < 0.5
    owned.end("the task failed")
    assert len(kernel_emulator.journal) == sent


def test_kill_waits_for_the_create_in_flight_and_ends(make_owner, kernel_emulator):
    owner, record, mark = make_owner()
    held = kernel_emulator.add_fault(Fault("POST", "/invocations", hold=True))
    starting = in_thread(owner.start, record, mark)
    (invocation,) = kernel_emulator.wait_for_invocations()
    killing = in_thread(owner.kill)
    held.release()
    killing.join(LONG)
    starting.join(LONG)
    assert kernel_emulator.invocation(invocation.id).status == "failed"


def test_kill_finds_what_a_create_without_an_answer_started(make_owner, kernel_emulator):
    owner, record, mark = make_owner()
    held = kernel_emulator.add_fault(Fault("POST", "/invocations", hold=True))
    starting = in_thread(owner.start, record, mark)
    (invocation,) = kernel_emulator.wait_for_invocations()
    assert duration(owner.kill) < KILL_SECONDS
    assert kernel_emulator.invocation(invocation.id).status == "failed"
    held.release()
    starting.join(LONG)


def test_kill_abandons_the_backoff_of_a_start(make_owner, kernel_emulator, retries):
    owner, record, mark = make_owner()
    kernel_emulator.add_fault(Fault("POST", "/invocations", status=429, headers={"Retry-After": "60"}))
    errors = []

    def start():
        try:
            owner.start(record, mark)
        except KernelInvocationKilledError as error:
            errors.append(error)

    starting = in_thread(start)
    assert retries.wait(LONG)
    assert duration(owner.kill) < IN_FLIGHT_SECONDS
    starting.join(LONG)
    assert len(errors) == 1
    assert kernel_emulator.invocations == ()


def test_kill_ends_what_a_lost_start_may_have_started(make_owner, kernel_emulator):
    owner, record, mark = make_owner()
    kernel_emulator.add_fault(Fault("POST", "/invocations", drop="after"))
    with pytest.raises(KernelAmbiguousStartError):
        owner.start(record, mark)
    assert owner.external_id is None
    owner.kill()
    assert [invocation.status for invocation in kernel_emulator.invocations] == ["failed"]


def test_owner_ends_an_object_whose_id_is_known_after_the_kill(make_owner, config, kernel_emulator):
    owner, record, _ = make_owner()
    owner.kill()
    with KernelClient(config) as client:
        started = client.send(create_invocation("demo", "hang")).id
    owner.adopt(record.with_id(started))
    owner.end("the task ended")
    assert kernel_emulator.invocation(started).status == "failed"
    assert kernel_emulator.invocation(started).output_json == {"error": str(EndReason.TASK_KILLED)}


def test_owner_starts_nothing_after_a_kill(make_owner, kernel_emulator):
    owner, record, mark = make_owner()
    owner.kill()
    with pytest.raises(KernelInvocationKilledError):
        owner.start(record, mark)
    assert kernel_emulator.journal == ()


def test_owner_refuses_a_second_start_beside_the_first(make_owner, kernel_emulator):
    owner, record, mark = make_owner()
    owner.start(record, mark)
    with pytest.raises(RuntimeError, match="Nothing can be started"):
        owner.start(record, mark)
    assert len(kernel_emulator.invocations) == 1


def test_owner_may_start_again_after_a_refused_start(make_owner, kernel_emulator):
    owner, record, mark = make_owner()
    kernel_emulator.add_fault(Fault("POST", "/invocations", status=400))
    with pytest.raises(KernelBadRequestError):
        owner.start(record, mark)
    owner.start(record, mark)
    assert len(kernel_emulator.invocations) == 1


def test_kill_leaves_a_released_object(owned, kernel_emulator):
    owned.release()
    owned.kill()
    owned.end("the task failed")
    assert kernel_emulator.invocation(owned.external_id).status == "running"


def test_release_in_a_killed_task_raises(owned):
    owned.kill()
    with pytest.raises(KernelInvocationKilledError, match=owned.external_id):
        owned.release()


def test_kill_and_end_leave_an_object_that_nobody_owns(make_owner, kernel_emulator):
    owner, record, mark = make_owner(Ownership.NOBODY)
    owner.start(record, mark)
    assert duration(owner.kill) < 0.5
    owner.end("the task failed")
    assert kernel_emulator.requests("PATCH") == ()
    with pytest.raises(KernelInvocationKilledError):
        owner.check()


def test_kill_after_close_returns_at_once(owned, kernel_emulator):
    owned.release()
    owned.close()
    owned.kill()
    assert duration(owned.kill) < 0.5
    assert kernel_emulator.requests("PATCH") == ()


def test_close_ends_the_threads_of_the_owner(make_owner):
    before = set(threading.enumerate())
    owner, _, _ = make_owner()
    threads = set(threading.enumerate()) - before
    assert len(threads) == 3
    owner.release()
    owner.close()
    for thread in threads:
        thread.join(LONG)
        assert not thread.is_alive()


def test_close_leaves_an_end_under_way_time_to_finish(make_owner, kernel_emulator):
    owner, record, mark = make_owner()
    owner.start(record, mark)
    held = kernel_emulator.add_fault(Fault("GET", "/invocations/*", nth=1, hold=True))
    ending = in_thread(owner.end, "the task failed")
    kernel_emulator.wait_for("GET", "/invocations/*")
    owner.close()
    held.release()
    ending.join(LONG)
    assert kernel_emulator.wait_for_status(owner.external_id, "failed")


def test_wake_and_kill_cut_the_wait_of_the_owner_short(owned):
    owned.wake()
    assert duration(owned.wait, LONG) < 1
    killing = in_thread(owned.kill)
    with pytest.raises(KernelInvocationKilledError):
        owned.wait(LONG)
    killing.join(LONG)


def test_release_after_a_kill_that_failed_leaves_the_end_to_the_task(owned, kernel_emulator):
    """Deferral or not: the killed task does not go on, so nobody takes over what it lets go of."""
    kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", nth=1, status=400))
    owned.kill()
    with pytest.raises(KernelInvocationKilledError):
        owned.release()
    assert owned.end("the task failed")
    assert kernel_emulator.invocation(owned.external_id).status == "failed"
