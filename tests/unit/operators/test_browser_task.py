"""The browser of a task process, against the emulator: started once, and ended on every path."""

import json
import signal
import threading
import time
from dataclasses import replace

import pytest
import uuid6
from support.browser_operator import BrowserOperator
from support.execution_api import task_instance

from airflow_provider_kernel.client.errors import KernelLostContactError, KernelTaskKilledError
from airflow_provider_kernel.client.resources.browsers.errors import KernelBrowserLimitError
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.lifecycle.ending import for_ending
from airflow_provider_kernel.lifecycle.ledger import Ledger
from airflow_provider_kernel.owned import browser as owned_browser
from airflow_provider_kernel.owned.browser_mark import BrowserMark
from airflow_provider_kernel.testing import Fault
from airflow_provider_kernel.testing.resources.browsers.record import most_browsers_at_once
from airflow_provider_kernel.testing.resources.limits import Limits

ONE = "/browsers/*"
TASK_TAGS = ("airflow_owner", "airflow_dag", "airflow_run", "airflow_task", "airflow_map")


@pytest.fixture(autouse=True)
def short_lag(monkeypatch):
    """No test waits for seconds for what Kernel might not show yet."""
    monkeypatch.setattr(owned_browser, "LAG_SECONDS", 1.0)
    monkeypatch.setattr(owned_browser.OwnedBrowser, "listing_lag_seconds", 1.0)


@pytest.fixture(params=["with a store", "without a store"])
def store(request, monkeypatch):
    """Let Airflow keep what a task remembers over its tries, as 3.3 does, or not, as before."""
    if request.param == "without a store":

        def of_try(cls, kind, context, *, durable):
            return cls(kind, None, context["ti"])

        monkeypatch.setattr(Ledger, "of_try", classmethod(of_try))


@pytest.fixture
def kill():
    """Call ``on_kill`` in a signal handler on the main thread, whatever it is doing."""
    operators = []
    before = signal.signal(signal.SIGUSR1, lambda *_: [operator.on_kill() for operator in operators])

    def kill(operator):
        operators.append(operator)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    yield kill
    signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def kernel_ends_none(kernel_emulator):
    """Until the faults are cleared, nothing reaches Kernel that ends a browser: the process is as good as lost."""
    kernel_emulator.add_fault(Fault("DELETE", ONE, nth=None, status=400))


def active(kernel):
    return [browser.session_id for browser in kernel.browsers if browser.is_active]


def check_promise(kernel):
    """Check that no task has ever had two browsers at once, and that none is left."""
    by_task = {}
    for browser in kernel.browsers:
        by_task.setdefault(tuple(browser.tags.get(key) for key in TASK_TAGS), []).append(browser)
    assert [most_browsers_at_once(browsers) for browsers in by_task.values()] == [1] * len(by_task)
    assert active(kernel) == []


def mark_of(ti, owner="airflow"):
    return BrowserMark(owner, ti.dag_id, ti.run_id, ti.task_id, -1, ti.try_number, str(ti.id))


class Capturing(BrowserOperator):
    """Notes the operator that runs."""

    def run_with_hook(self, context):
        RUNNING.append(self)
        return super().run_with_hook(context)


RUNNING = []


@pytest.fixture(autouse=True)
def airflow_has_a_name(monkeypatch):
    monkeypatch.setenv("AIRFLOW_KERNEL_OWNER", "airflow")


@pytest.fixture(autouse=True)
def none_is_running():
    RUNNING.clear()


# --- the ordinary life ------------------------------------------------------------------------------------------


def test_task_has_its_browser_while_it_works_and_none_afterwards(run, kernel_emulator, execution_api):
    seen = []

    def work(operator, owned):
        seen.extend(kernel_emulator.browsers)
        return owned.session.session_id

    result = run(BrowserOperator, work=work, options={"tags": {"team": "prices"}, "idle_timeout": 60})
    assert result.state == "success", result.error
    (browser,) = seen
    assert browser.is_active
    assert execution_api.xcoms["return_value"] == execution_api.xcoms["browser_id"] == browser.session_id
    assert browser.options["timeout_seconds"] == 60
    assert {key: browser.tags[key] for key in ("team", *TASK_TAGS)} == {
        "team": "prices",
        "airflow_owner": "airflow",
        "airflow_dag": "d",
        "airflow_run": "r",
        "airflow_task": "t",
        "airflow_map": "-1",
    }
    check_promise(kernel_emulator)


def test_ownership_record_names_the_browser_while_the_task_works(run, execution_api):
    def work(operator, owned):
        return [execution_api.xcoms["kernel_browser_owner"]["external_id"], owned.session_id]

    assert run(BrowserOperator, work=work).state == "success"
    recorded, session_id = execution_api.xcoms["return_value"]
    assert recorded == session_id


def test_browser_is_ended_when_the_task_fails(run, kernel_emulator):
    def work(operator, owned):
        raise ValueError("no such page")

    result = run(BrowserOperator, work=work)
    assert result.state == "up_for_retry"
    assert [browser.end_cause for browser in kernel_emulator.browsers] == ["deleted"]


@pytest.mark.parametrize("ends_nothing", [True, False])
@pytest.mark.parametrize("max_tries", [0, 1])
def test_lost_contact_with_something_else_ends_the_browser_all_the_same(
    ends_nothing, max_tries, run, kernel_emulator, store
):
    """The function may wait for an invocation of its own, which is what the error speaks of."""

    def work(operator, owned):
        raise KernelLostContactError("invocation inv_1 may run on", ends_nothing=ends_nothing)

    assert run(BrowserOperator, work=work, max_tries=max_tries).state in ("failed", "up_for_retry")
    check_promise(kernel_emulator)


def test_user_tag_that_looks_like_one_of_the_owner_fails_the_task_before_a_start(run, kernel_emulator):
    result = run(BrowserOperator, options={"tags": {"airflow_dag": "another"}})
    assert result.state == "failed"
    assert kernel_emulator.browsers == ()


def test_function_that_returns_has_succeeded_although_its_browser_had_ended(run, kernel_emulator):
    def work(operator, owned):
        KernelHook().browsers.delete_by_id(owned.session_id)
        return "done"

    assert run(BrowserOperator, work=work).state == "success"
    check_promise(kernel_emulator)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500, 503])
def test_task_that_returned_has_succeeded_although_the_end_fails_and_the_next_in_line_is_named(
    status, run, kernel_emulator, caplog
):
    body = {"code": "project_not_found", "message": "no such project"} if status == 404 else None
    kernel_emulator.add_fault(Fault("DELETE", ONE, nth=None, status=status, body=body))
    assert run(BrowserOperator, work=lambda operator, owned: "done").state == "success"
    assert len(active(kernel_emulator)) == 1
    assert "could not be ended: " in caplog.text
    assert "Next in line: the next try of the task, the DAG's safety net, the sweep" in caplog.text


def test_end_that_takes_longer_than_its_answer_has_time_is_no_failure(run, kernel_emulator, caplog, monkeypatch):
    def impatient(config, **options):
        return replace(for_ending(config, **options), read_timeout=0.3)

    monkeypatch.setattr("airflow_provider_kernel.lifecycle.end_sender.for_ending", impatient)
    kernel_emulator.add_fault(Fault("DELETE", ONE, delay_answer=2.0))
    assert run(BrowserOperator).state == "success"
    check_promise(kernel_emulator)
    assert "could not be ended" not in caplog.text


@pytest.mark.parametrize(("saves", "warns"), [(True, True), (False, False)])
def test_failed_task_says_that_the_profile_was_saved_all_the_same(saves, warns, run, capsys):
    def work(operator, owned):
        raise ValueError("half logged in")

    run(BrowserOperator, work=work, options={"profile": "shop", "save_profile": saves})
    assert ("has saved the profile 'shop' all the same" in capsys.readouterr().out) is warns


def test_forked_child_that_fails_ends_nothing(run, kernel_emulator, monkeypatch):
    def work(operator, owned):
        monkeypatch.setattr(operator._run, "_pid", -1)  # as a child sees it
        raise SystemExit

    run(BrowserOperator, work=work)
    assert len(active(kernel_emulator)) == 1


# --- the start --------------------------------------------------------------------------------------------------

LOST = {
    "answer lost": {"drop": "after"},
    "request lost": {"drop": "before"},
    "500 after processing": {"status": 500, "processed": True},
    "500": {"status": 500},
    "502 in HTML": {"status": 502, "body": "<html>Bad gateway</html>", "processed": True},
    "half an answer": {"truncate": True},
    "408 after processing": {"status": 408, "processed": True},
}


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
def test_start_without_a_usable_answer_starts_one_browser(fault, run, kernel_emulator):
    kernel_emulator.add_fault(Fault("POST", "/browsers", **fault))
    assert run(BrowserOperator, work=lambda operator, owned: len(active(kernel_emulator))).state == "success"
    assert len(kernel_emulator.browsers) == 1
    check_promise(kernel_emulator)


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("lag", ["browser_visible_after", "browser_list_lag"])
def test_lost_browser_that_kernel_shows_late_is_found(lag, run, kernel_emulator):
    setattr(kernel_emulator.switches, lag, 0.5)
    kernel_emulator.add_fault(Fault("POST", "/browsers", drop="after"))
    assert run(BrowserOperator).state == "success"
    assert len(kernel_emulator.browsers) == 1
    check_promise(kernel_emulator)


@pytest.mark.usefixtures("store")
def test_lost_browser_that_kernel_shows_after_the_search_is_found_by_the_conflict(run, kernel_emulator):
    kernel_emulator.switches.browser_visible_after = 1.5
    kernel_emulator.add_fault(Fault("POST", "/browsers", drop="after"))
    result = run(BrowserOperator)
    assert result.state == "success", result.error
    assert len(kernel_emulator.browsers) == 1
    check_promise(kernel_emulator)


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("status", [429, 529])
def test_start_without_a_place_waits_for_one(status, run, kernel_emulator):
    headers = {"Retry-After": "1"} if status == 429 else None
    kernel_emulator.add_fault(Fault("POST", "/browsers", status=status, headers=headers, nth=(1, 2)))
    assert run(BrowserOperator).state == "success"
    check_promise(kernel_emulator)


def test_start_for_which_there_is_no_place_in_time_is_retried(run, kernel_emulator):
    kernel_emulator.switches.capacity_exhausted = True
    result = run(BrowserOperator, start_timeout=1.0)
    assert isinstance(result.error, KernelBrowserLimitError)
    assert result.state == "up_for_retry"
    assert kernel_emulator.browsers == ()


def test_name_that_somebody_else_has_fails_the_start_and_harms_nobody(make_task, kernel_emulator):
    task = make_task(BrowserOperator)
    with KernelHook() as hook:
        other = hook.browsers.create(name=mark_of(task.ti).name, tags={"of": "somebody else"})
    assert task.run().state != "success"
    assert active(kernel_emulator) == [other.session_id]


# --- former tries -----------------------------------------------------------------------------------------------


def leave_a_browser(task, kernel):
    """Run a try whose process can end nothing, and is lost."""
    kernel.add_fault(Fault("DELETE", ONE, nth=None, status=400))
    task.run()
    kernel.clear_faults()
    (left,) = active(kernel)
    return left


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("how", ["crash", "clear", "clear while running", "deleted and re-made"])
def test_browser_that_a_former_try_has_left_is_ended_first(how, make_task, kernel_emulator, execution_api):
    task = make_task(BrowserOperator)
    left = leave_a_browser(task, kernel_emulator)
    again = task.next_try(cleared=how == "clear", cleared_while_running=how == "clear while running")
    if how == "deleted and re-made":
        execution_api.store.clear()
        again.ti = task_instance()
    seen = []
    again.task.work = lambda operator, owned: seen.extend(active(kernel_emulator))
    assert again.run().state == "success"
    assert len(seen) == 1
    assert left not in seen
    check_promise(kernel_emulator)


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("fault", [{"drop": "after"}, {"status": 500, "processed": True}], ids=str)
def test_browser_of_a_lost_start_of_a_crashed_try_is_ended_first(fault, make_task, kernel_emulator, execution_api):
    """The process dies with its create in flight, so that no id was ever known."""
    task = make_task(BrowserOperator)
    kernel_emulator.add_fault(Fault("POST", "/browsers", **fault))
    kernel_emulator.add_fault(Fault("GET", ONE, nth=None, status=400))
    kernel_emulator.add_fault(Fault("GET", "/browsers", nth=range(2, 100), status=400))
    left = leave_a_browser(task, kernel_emulator)
    again = task.next_try()
    again.task.work = lambda operator, owned: active(kernel_emulator)
    assert again.run().state == "success"
    assert left not in execution_api.xcoms["return_value"]
    check_promise(kernel_emulator)


@pytest.mark.usefixtures("store")
def test_former_browser_whose_end_takes_longer_than_its_answer_has_time_fails_no_try(
    make_task, kernel_emulator, monkeypatch
):
    connection = json.loads(kernel_emulator.airflow_connection)
    extra = {**connection.get("extra", {}), "read_timeout": 0.5, "max_attempts": 1}
    monkeypatch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", json.dumps({**connection, "extra": extra}))
    task = make_task(BrowserOperator)
    leave_a_browser(task, kernel_emulator)
    kernel_emulator.add_fault(Fault("DELETE", ONE, delay_answer=2.0))
    assert task.next_try().run().state == "success"
    check_promise(kernel_emulator)


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
def test_no_second_browser_is_started_beside_one_that_cannot_be_ended(status, make_task, kernel_emulator):
    task = make_task(BrowserOperator, max_tries=3)
    left = leave_a_browser(task, kernel_emulator)
    body = {"code": "project_not_found", "message": "no such project"} if status == 404 else None
    kernel_emulator.add_fault(Fault("DELETE", ONE, nth=None, status=status, body=body))
    again = task.next_try()
    assert again.run().state != "success"
    assert active(kernel_emulator) == [left]
    kernel_emulator.clear_faults()
    assert again.next_try().run().state == "success"
    check_promise(kernel_emulator)


@pytest.mark.parametrize("status", [401, 403, 500])
def test_no_browser_is_started_while_former_ones_cannot_be_listed(status, run, kernel_emulator):
    kernel_emulator.add_fault(Fault("GET", "/browsers", nth=None, status=status))
    assert run(BrowserOperator, max_tries=0).state == "failed"
    assert kernel_emulator.browsers == ()


def test_former_browser_that_the_list_shows_late_is_ended_first_also_without_a_store(
    make_task, kernel_emulator, monkeypatch, execution_api
):
    def of_try(cls, kind, context, *, durable):
        context.pop("task_state_store", None)
        return cls(kind, None, context["ti"])

    monkeypatch.setattr(Ledger, "of_try", classmethod(of_try))
    monkeypatch.setattr("airflow_provider_kernel.operators._browser_task._former_patience", lambda context: 3.0)
    kernel_emulator.switches.browser_list_lag = 1.0
    task = make_task(BrowserOperator)
    left = leave_a_browser(task, kernel_emulator)
    again = task.next_try()
    again.task.work = lambda operator, owned: active(kernel_emulator)
    assert again.run().state == "success"
    assert left not in execution_api.xcoms["return_value"]
    check_promise(kernel_emulator)


@pytest.mark.usefixtures("store")
def test_no_healthy_browser_is_ended(make_task, kernel_emulator):
    """Those of another task, map index, run, DAG or Airflow live on, and a user's own."""
    kernel_emulator.room(Limits).max_concurrent_sessions = 20
    task = make_task(BrowserOperator)
    leave_a_browser(task, kernel_emulator)
    own = mark_of(task.ti)
    others = [
        own._replace(task_id="t2"),
        own._replace(map_index=0),
        own._replace(run_id="r2"),
        own._replace(dag_id="d2"),
        own._replace(owner="https://another.example"),
    ]
    with KernelHook() as hook:
        healthy = [
            hook.browsers.create(tags={**each.task_tags, "airflow_ti": "other"}).session_id for each in others
        ]
        healthy.append(hook.browsers.create(name="mine", tags={"airflow": "no"}).session_id)
        healthy.append(hook.browsers.create().session_id)
    assert task.next_try().run().state == "success"
    assert active(kernel_emulator) == healthy


def test_browsers_of_two_airflows_without_a_name_are_told_apart(make_task, kernel_emulator, monkeypatch):
    """By the id of the DAG's version, which only one Airflow has."""
    monkeypatch.delenv("AIRFLOW_KERNEL_OWNER")
    task = make_task(BrowserOperator)
    with KernelHook() as hook:
        tags = {**BrowserMark.of(task.ti, "airflow", is_owner_named=False).task_tags, "airflow_ti": "former"}
        former = hook.browsers.create(tags=tags).session_id
        another = hook.browsers.create(tags={**tags, "airflow_dag_version": "another"}).session_id
    assert task.run().state == "success"
    assert former not in active(kernel_emulator)
    assert active(kernel_emulator) == [another]


def test_browser_of_a_later_try_is_not_ended_by_a_process_that_comes_back(make_task, kernel_emulator):
    task = make_task(BrowserOperator)
    task.ti = task.ti.model_copy(update={"id": uuid6.uuid7()})
    later = mark_of(task.ti.model_copy(update={"id": uuid6.UUID(int=uuid6.uuid7().int + (10_000 << 80))}))
    with KernelHook() as hook:
        tags = {**later.task_tags, "airflow_ti": later.ti_id, "airflow_start": "of the later try"}
        healthy = hook.browsers.create(name=later.name, tags=tags)
    result = task.run()
    assert isinstance(result.error, KernelTaskKilledError)
    assert active(kernel_emulator) == [healthy.session_id]


# --- kills ------------------------------------------------------------------------------------------------------

STEPS = {
    "while former ones are listed": ("GET", "/browsers", {}),
    "while the create is in flight": ("POST", "/browsers", {}),
    "while a lost create is looked up": ("GET", ONE, {"first": Fault("POST", "/browsers", drop="after")}),
    "while the last end is in flight": ("DELETE", ONE, {}),
}


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(("method", "path", "more"), STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("answers", [True, False], ids=["and is answered", "and never is"])
def test_kill_at_a_request_leaves_no_browser(method, path, more, answers, run, kernel_emulator, kill):
    if "first" in more:
        kernel_emulator.add_fault(Fault("POST", "/browsers", drop="after"))
    fault = kernel_emulator.add_fault(Fault(method, path, hold=True))
    took = []

    def kill_and_answer():
        fault.wait_until_held()
        began = time.monotonic()
        kill(RUNNING[0])
        if answers:
            fault.release()
        kernel_emulator.wait_until(lambda: not active(kernel_emulator), timeout=4.5)
        took.append(time.monotonic() - began)
        fault.release()

    thread = threading.Thread(target=kill_and_answer)
    thread.start()
    result = run(Capturing)
    thread.join()
    assert took
    assert method == "DELETE" or isinstance(result.error, KernelTaskKilledError)
    check_promise(kernel_emulator)


def test_kill_while_a_former_browser_is_ended_starts_none(make_task, kernel_emulator, kill):
    task = make_task(Capturing)
    leave_a_browser(task, kernel_emulator)
    again = task.next_try()
    RUNNING.clear()
    fault = kernel_emulator.add_fault(Fault("DELETE", ONE, hold=True))

    def kill_and_answer():
        fault.wait_until_held()
        kill(RUNNING[0])
        fault.release()

    thread = threading.Thread(target=kill_and_answer)
    thread.start()
    result = again.run()
    thread.join()
    assert isinstance(result.error, KernelTaskKilledError)
    assert len(kernel_emulator.browsers) == 1
    check_promise(kernel_emulator)


@pytest.mark.usefixtures("store")
def test_kill_during_the_work_ends_the_browser_then_calls_back_then_raises(run, kernel_emulator):
    seen = []

    def work(operator, owned):
        owned.on_killed(lambda: seen.append(("registered later", active(kernel_emulator))))
        operator.on_kill()
        seen.append("the work goes on")
        raise RuntimeError("the page is gone")

    result = run(BrowserOperator, work=work, on_killed=lambda: seen.append(("first", active(kernel_emulator))))
    assert seen == [("first", []), ("registered later", []), "the work goes on"]
    assert isinstance(result.error, KernelTaskKilledError)
    check_promise(kernel_emulator)


def test_killed_task_fails_although_its_work_returns(run, kernel_emulator):
    def work(operator, owned):
        operator.on_kill()
        return "as if nothing had happened"

    assert isinstance(run(BrowserOperator, work=work).error, KernelTaskKilledError)
    check_promise(kernel_emulator)


def test_callback_of_a_kill_that_fails_does_not_keep_the_others(run, capsys):
    called = []

    def work(operator, owned):
        owned.on_killed(lambda: called.append("second"))
        operator.on_kill()

    def fail():
        raise OSError("no such process")

    assert isinstance(run(BrowserOperator, work=work, on_killed=fail).error, KernelTaskKilledError)
    assert called == ["second"]
    assert "What was to be closed after the kill was not: OSError" in capsys.readouterr().out


def test_kill_before_anything_is_owned_starts_nothing(run, kernel_emulator):
    class Killed(BrowserOperator):
        def run_with_hook(self, context):
            self.on_kill()
            return super().run_with_hook(context)

    assert isinstance(run(Killed).error, KernelTaskKilledError)
    assert kernel_emulator.browsers == ()


def test_kill_that_cannot_end_the_browser_leaves_it_to_the_next_in_line(run, kernel_emulator, caplog):
    kernel_emulator.add_fault(Fault("DELETE", ONE, nth=None, status=500))

    def work(operator, owned):
        operator.on_kill()

    assert isinstance(run(BrowserOperator, work=work).error, KernelTaskKilledError)
    assert "Next in line: this process, if it lives on; then the next try of the task" in caplog.text
