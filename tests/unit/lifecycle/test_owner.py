"""The owner of a remote object, against the emulator. The table of its states is in `test_transitions.py`."""

import logging
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from airflow_provider_kernel.client.client import KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.errors import (
    KernelAmbiguousStartError,
    KernelBadRequestError,
    KernelServerError,
    KernelTaskKilledError,
)
from airflow_provider_kernel.client.resources.invocations.requests import create_invocation
from airflow_provider_kernel.client.retry import RetryPolicy
from airflow_provider_kernel.lifecycle import owner as owner_module
from airflow_provider_kernel.lifecycle.fencing import Answer
from airflow_provider_kernel.lifecycle.kill import IN_FLIGHT_SECONDS, KILL_SECONDS
from airflow_provider_kernel.lifecycle.ledger import Ledger, StartRecord
from airflow_provider_kernel.lifecycle.owner import Owner
from airflow_provider_kernel.lifecycle.resource import EndReason, Ownership, StartMark
from airflow_provider_kernel.lifecycle.task_instances import TaskState
from airflow_provider_kernel.owned.invocation import OwnedInvocation
from airflow_provider_kernel.testing import Fault

LONG = 20.0


@pytest.fixture
def config(kernel_emulator):
    return KernelConfig(kernel_emulator.api_key, kernel_emulator.base_url)


@pytest.fixture
def make_owner(config):
    owners = []
    ti = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=1, max_tries=0)

    def make(ownership=Ownership.TASK, *, action="hang", payload=1, config=config, fence=None):
        def build(payload):
            return create_invocation("demo", action, payload=payload)

        resource = OwnedInvocation(build, payload=payload, correlation_key=None, ti=ti)
        owner = Owner(resource, config, ownership=ownership, fence=fence)
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
    """Set once a start or an end waits before its next attempt."""
    waits = threading.Event()
    texts = ("next one in", "could not be ended yet")
    handler = logging.Handler()
    handler.emit = lambda record: waits.set() if any(text in record.getMessage() for text in texts) else None
    logger = logging.getLogger("airflow_provider_kernel")
    logger.addHandler(handler)
    yield waits
    logger.removeHandler(handler)


def collect_kill(errors, owner, record, mark):
    """Start the object; note the error of a kill."""
    try:
        owner.start(record, mark)
    except KernelTaskKilledError as error:
        errors.append(error)


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
    kernel_emulator.wait_for("DELETE", "/invocations/*/browsers", count=2)  # of the end that was overtaken


@pytest.fixture
def short_ends(monkeypatch):
    """Let an ordinary end give up soon, and an urgent one sooner."""
    monkeypatch.setattr(owner_module, "WORKER_END_SECONDS", 0.5)
    monkeypatch.setattr(owner_module, "LAST_URGENT_ATTEMPT_SECONDS", 0.2)


@pytest.fixture
def refused_ends(kernel_emulator):
    return kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", nth=None, status=500))


def test_kill_goes_on_through_errors_for_most_of_the_five_seconds(owned, kernel_emulator):
    """F2: 500s for longer than three attempts take."""
    kernel_emulator.add_fault(Fault("GET", "/invocations/*", nth=None, status=500))
    kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", nth=None, status=500))
    killing = in_thread(owned.kill)
    kernel_emulator.wait_for("PATCH", "/invocations/*", count=6)
    kernel_emulator.clear_faults()
    killing.join(LONG)
    assert kernel_emulator.invocation(owned.external_id).status == "failed"


def test_kill_that_kernel_refuses_to_the_end_returns_before_airflow_kills_the_process(
    owned, kernel_emulator, refused_ends
):
    assert KILL_SECONDS - 0.5 < duration(owned.kill) < KILL_SECONDS + 0.5


def test_kill_ignores_the_retry_settings_of_the_connection(make_owner, kernel_emulator, config):
    owner, record, mark = make_owner(config=replace(config, retry=RetryPolicy(max_attempts=1)))
    owner.start(record, mark)
    kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", nth=1, status=503))
    owner.kill()
    assert kernel_emulator.invocation(owner.external_id).status == "failed"


def test_end_ignores_the_retry_settings_of_the_connection(make_owner, kernel_emulator, config):
    owner, record, mark = make_owner(config=replace(config, retry=RetryPolicy(max_attempts=1)))
    owner.start(record, mark)
    kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", nth=1, status=401))
    assert owner.end("the task failed")
    assert kernel_emulator.invocation(owner.external_id).status == "failed"


def test_kill_tries_again_until_the_browsers_are_ended(owned, kernel_emulator):
    """An invocation whose browsers live on costs money."""
    kernel_emulator.add_fault(Fault("DELETE", "/invocations/*/browsers", nth=1, status=400))
    owned.kill()
    assert len(kernel_emulator.requests("DELETE", "/invocations/*/browsers")) == 2


def test_end_that_a_proxy_answers_with_404_is_tried_again(owned, kernel_emulator):
    kernel_emulator.add_fault(Fault("GET", "/invocations/*", nth=1, status=404, body="<h1>no route</h1>"))
    assert owned.end("the task failed")
    assert kernel_emulator.invocation(owned.external_id).status == "failed"


@pytest.mark.usefixtures("short_ends")
def test_failed_end_is_ordered_anew(owned, kernel_emulator, refused_ends, caplog):
    assert not owned.end("the task failed")
    assert kernel_emulator.invocation(owned.external_id).status == "running"
    assert f"Invocation {owned.external_id} could not be ended" in caplog.text
    assert "trying again for up to" in caplog.text
    assert "Next in line: the next try of the task, the DAG's safety net, the sweep" in caplog.text
    kernel_emulator.clear_faults()
    assert owned.end("the task failed")
    assert kernel_emulator.invocation(owned.external_id).status == "failed"


@pytest.mark.usefixtures("short_ends")
def test_second_kill_orders_a_failed_end_anew(owned, kernel_emulator, refused_ends):
    assert duration(owned.kill) < IN_FLIGHT_SECONDS
    assert kernel_emulator.invocation(owned.external_id).status == "running"
    kernel_emulator.clear_faults()
    owned.kill()
    assert kernel_emulator.invocation(owned.external_id).status == "failed"


def test_end_after_a_kill_that_failed_goes_on(owned, kernel_emulator, refused_ends, monkeypatch, caplog):
    monkeypatch.setattr(owner_module, "LAST_URGENT_ATTEMPT_SECONDS", 0.2)
    owned.kill()
    assert not kernel_emulator.invocation(owned.external_id).finished
    kernel_emulator.clear_faults()
    assert owned.end("the task failed")
    assert kernel_emulator.invocation(owned.external_id).output_json == {"error": str(EndReason.TASK_KILLED)}
    assert "Next in line: this process, if it lives on; then" in caplog.text


def test_end_goes_on_after_a_kill_meanwhile_that_failed(owned, kernel_emulator, refused_ends, retries, monkeypatch):
    """The ordinary end is overtaken by the urgent one, and is ordered anew when that has failed."""
    monkeypatch.setattr(owner_module, "LAST_URGENT_ATTEMPT_SECONDS", 0.2)
    ending = in_thread(owned.end, "the task failed")
    assert retries.wait(LONG)
    owned.kill()
    kernel_emulator.clear_faults()
    ending.join(LONG)
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
    starting = in_thread(lambda: collect_kill(errors, owner, record, mark))
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


def test_end_waits_for_the_create_that_a_late_list_does_not_show(make_owner, kernel_emulator, monkeypatch):
    """The list says nothing yet of what the create started; its answer does, later than the end waits for it."""
    monkeypatch.setattr(owner_module, "_CREATE_SECONDS", 0.1)
    owner, record, mark = make_owner()
    held = kernel_emulator.add_fault(Fault("POST", "/invocations", hold=True))
    kernel_emulator.add_fault(Fault("GET", "/invocations", nth=None, body=[]))
    starting = in_thread(owner.start, record, mark)
    (invocation,) = kernel_emulator.wait_for_invocations()
    ended = []
    ending = in_thread(lambda: ended.append(owner.end("the task failed")))
    kernel_emulator.wait_for("GET", "/invocations")
    ending.join(0.5)  # an end that takes the list's word gives up here, or waits behind the create
    held.release()
    starting.join(LONG)
    ending.join(LONG)
    assert ended == [True]
    assert kernel_emulator.invocation(invocation.id).status == "failed"


def test_end_searches_a_list_that_lags_for_what_a_lost_start_has_started(make_owner, kernel_emulator):
    owner, record, mark = make_owner()
    kernel_emulator.add_fault(Fault("POST", "/invocations", drop="after"))
    with pytest.raises(KernelAmbiguousStartError):
        owner.start(record, mark)
    kernel_emulator.add_fault(Fault("GET", "/invocations", body=[]))
    assert owner.end("the task failed")
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
    with pytest.raises(KernelTaskKilledError):
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
    with pytest.raises(KernelTaskKilledError, match=owned.external_id):
        owned.release()


def test_kill_and_end_leave_an_object_that_nobody_owns(make_owner, kernel_emulator):
    owner, record, mark = make_owner(Ownership.NOBODY)
    owner.start(record, mark)
    assert duration(owner.kill) < 0.5
    owner.end("the task failed")
    assert kernel_emulator.requests("PATCH") == ()
    with pytest.raises(KernelTaskKilledError):
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
    with pytest.raises(KernelTaskKilledError):
        owned.wait(LONG)
    killing.join(LONG)


def test_release_after_a_kill_that_failed_leaves_the_end_to_the_task(
    owned, kernel_emulator, refused_ends, monkeypatch
):
    """Deferral or not: the killed task does not go on, so nobody takes over what it lets go of."""
    monkeypatch.setattr(owner_module, "LAST_URGENT_ATTEMPT_SECONDS", 0.2)
    owned.kill()
    with pytest.raises(KernelTaskKilledError):
        owned.release()
    kernel_emulator.clear_faults()
    assert owned.end("the task failed")
    assert kernel_emulator.invocation(owned.external_id).status == "failed"


# --- what an earlier try started --------------------------------------------------------------------------------


@pytest.fixture
def earlier(config):
    """Start what an earlier try has left running, and return its id."""
    with KernelClient(config) as client:
        return client.send(create_invocation("demo", "hang")).id


@pytest.mark.parametrize("ownership", [Ownership.TASK, Ownership.NOBODY])
def test_replace_ends_what_an_earlier_try_started_and_another_may_be_started(
    ownership, make_owner, earlier, kernel_emulator
):
    owner, record, mark = make_owner(ownership)
    owner.adopt(StartRecord.naming(earlier))
    kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", nth=1, status=500))
    owner.replace(EndReason.TASK_CLEARED)
    assert kernel_emulator.invocation(earlier).output_json == {"error": str(EndReason.TASK_CLEARED)}
    assert owner.external_id is None
    started = owner.start(record, mark)
    assert owner.external_id == started.id
    assert kernel_emulator.most_active_at_once() == 1


def test_object_of_an_earlier_try_that_is_over_is_not_named_any_more(make_owner, earlier, kernel_emulator):
    owner, record, mark = make_owner()
    owner.adopt(StartRecord.naming(earlier))
    owner.nothing_was_started()
    assert owner.external_id is None
    kernel_emulator.add_fault(Fault("POST", "/invocations", status=400))
    with pytest.raises(KernelBadRequestError):
        owner.start(record, mark)
    assert owner.external_id is None


@pytest.mark.usefixtures("short_ends", "refused_ends")
def test_replace_that_fails_raises_why_and_starts_nothing(make_owner, earlier):
    owner, record, mark = make_owner()
    owner.adopt(StartRecord.naming(earlier))
    with pytest.raises(KernelServerError):
        owner.replace(EndReason.TASK_CLEARED)
    with pytest.raises(RuntimeError, match="Nothing can be started"):
        owner.start(record, mark)


@pytest.mark.parametrize("ownership", [Ownership.TASK, Ownership.NOBODY])
def test_kill_makes_the_end_of_what_an_earlier_try_started_urgent(
    ownership, make_owner, earlier, kernel_emulator, retries
):
    owner, record, mark = make_owner(ownership)
    owner.adopt(StartRecord.naming(earlier))
    refused = kernel_emulator.add_fault(
        Fault("PATCH", "/invocations/*", nth=None, status=503, headers={"Retry-After": "60"})
    )
    errors = []

    def replace():
        try:
            owner.replace(EndReason.TASK_CLEARED)
        except KernelTaskKilledError as error:
            errors.append(error)

    replacing = in_thread(replace)
    assert retries.wait(LONG)
    kernel_emulator.clear_faults()
    assert refused
    assert duration(owner.kill) < IN_FLIGHT_SECONDS
    replacing.join(LONG)
    assert kernel_emulator.invocation(earlier).status == "failed"
    assert len(errors) == 1
    with pytest.raises(KernelTaskKilledError):
        owner.start(record, mark)


# --- another try has taken it over ------------------------------------------------------------------------------


class StubFence:
    """Answers as told, once it may."""

    def __init__(self):
        self.may_end = True
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.asked = []
        self.was_asked = threading.Event()

    def ask(self, record):
        self.asked.append(record)
        self.was_asked.set()
        assert self.may_answer.wait(LONG)
        return Answer(self.may_end, TaskState.RUNNING, ((logging.INFO, "the fence has answered"),))

    def close(self):
        pass


@pytest.fixture
def fence():
    return StubFence()


@pytest.fixture
def fenced(make_owner, fence):
    """Own a running invocation that another try may take over."""
    owner, record, mark = make_owner(fence=fence)
    owner.start(record, mark)
    return owner


@pytest.mark.parametrize("how", ["kill", "end"])
def test_owner_leaves_what_another_try_has_taken_over(how, fenced, fence, kernel_emulator, caplog):
    """F1."""
    fence.may_end = False
    fenced.kill() if how == "kill" else fenced.end("the task failed")
    assert fenced.was_taken_over
    assert fenced.end("the task failed")
    assert kernel_emulator.requests("PATCH") == ()
    assert kernel_emulator.invocation(fenced.external_id).status == "running"
    assert [record.external_id for record in fence.asked] == [fenced.external_id]
    kernel_emulator.wait_until(lambda: "the fence has answered" in caplog.text)


def test_owner_ends_what_the_fence_says_is_its_own(fenced, fence, kernel_emulator):
    fenced.kill()
    assert not fenced.was_taken_over
    assert len(fence.asked) == 1
    assert kernel_emulator.invocation(fenced.external_id).status == "failed"


def test_kill_asks_the_fence_while_the_create_is_in_flight(make_owner, fence, kernel_emulator):
    owner, record, mark = make_owner(fence=fence)
    held = kernel_emulator.add_fault(Fault("POST", "/invocations", hold=True))
    starting = in_thread(owner.start, record, mark)
    (invocation,) = kernel_emulator.wait_for_invocations()
    killing = in_thread(owner.kill)
    assert fence.was_asked.wait(LONG)
    held.release()
    killing.join(LONG)
    starting.join(LONG)
    assert [asked.token for asked in fence.asked] == [record.token]
    assert kernel_emulator.invocation(invocation.id).status == "failed"


def test_start_that_another_try_has_taken_over_is_not_returned_to_be_recorded(make_owner, fence, kernel_emulator):
    owner, record, mark = make_owner(fence=fence)
    fence.may_end = False
    held = kernel_emulator.add_fault(Fault("POST", "/invocations", hold=True))
    errors = []
    starting = in_thread(lambda: collect_kill(errors, owner, record, mark))
    (invocation,) = kernel_emulator.wait_for_invocations()
    owner.kill()
    held.release()
    starting.join(LONG)
    assert len(errors) == 1
    assert kernel_emulator.invocation(invocation.id).status == "running"


def test_kill_during_an_end_asks_again(fenced, fence, kernel_emulator, retries):
    """The end may have begun minutes ago, when the object was still this try's."""
    kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", status=503, headers={"Retry-After": "60"}))
    ending = in_thread(fenced.end, "the task failed")
    assert retries.wait(LONG)
    fence.may_end = False
    fenced.kill()
    ending.join(LONG)
    assert fenced.was_taken_over
    assert kernel_emulator.invocation(fenced.external_id).status == "running"


def test_end_asks_again_before_each_further_attempt(fenced, fence, kernel_emulator, retries):
    """The process may have been stopped between two attempts, for as long as the next try took to begin."""
    kernel_emulator.add_fault(Fault("PATCH", "/invocations/*", status=503))
    fence.may_end = True
    asks = fence.ask

    def ask(record):
        fence.may_end = not fence.asked
        return asks(record)

    fence.ask = ask
    assert fenced.end("the task failed")
    assert fenced.was_taken_over
    assert len(fence.asked) == 2
    assert len(kernel_emulator.requests("PATCH")) == 1


def test_kill_while_the_fence_is_asked_makes_the_end_urgent(fenced, fence, kernel_emulator):
    fence.may_answer.clear()
    ending = in_thread(fenced.end, "the task failed")
    assert fence.was_asked.wait(LONG)
    killing = in_thread(fenced.kill)
    fence.may_answer.set()
    killing.join(LONG)
    ending.join(LONG)
    assert len(fence.asked) == 1
    assert kernel_emulator.invocation(fenced.external_id).status == "failed"


def test_replace_raises_when_another_try_has_taken_over(make_owner, earlier, fence, kernel_emulator):
    owner, _, _ = make_owner(fence=fence)
    owner.adopt(StartRecord.naming(earlier))
    fence.may_end = False
    with pytest.raises(KernelTaskKilledError):
        owner.replace(EndReason.TASK_CLEARED)
    assert kernel_emulator.invocation(earlier).status == "running"
