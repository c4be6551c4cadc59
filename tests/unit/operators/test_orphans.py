"""The sweep, `KernelCancelOrphansOperator`: it ends what belongs to a DAG run that is over, and nothing else."""

import time

import pytest
from support.dag_callbacks import ownership

from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.operators.orphans import KernelCancelOrphansOperator
from airflow_provider_kernel.owned.browser_mark import BrowserMark
from airflow_provider_kernel.testing import Fault
from airflow_provider_kernel.testing.resources.limits import Limits


@pytest.fixture
def started(kernel_emulator, kernel_connection):
    def started(run_id, payload=None, **mark):
        payload = payload or {"_airflow": {"dag_id": "d", "run_id": run_id, "task_id": "t", "token": "x", **mark}}
        with KernelHook() as hook:
            return hook.invoke("demo", "hang", payload).id

    return started


@pytest.fixture(autouse=True)
def little_time(monkeypatch):
    monkeypatch.setattr("airflow_provider_kernel.lifecycle.sweep.SWEEP_SECONDS", 1.0)


@pytest.fixture
def find_orphans(make_task, execution_api):
    execution_api.dag_run_states = {"over": "success", "failed": "failed", "going on": "running", "waits": "queued"}

    def find_orphans(**arguments):
        result = make_task(KernelCancelOrphansOperator, app_name="demo", **arguments).run()
        return result, set(execution_api.xcoms.get("return_value") or ())

    return find_orphans


def active(kernel):
    return {invocation.id for invocation in kernel.invocations if not invocation.finished}


def test_sweep_dry_run_logs_the_orphans_and_ends_none(find_orphans, started, kernel_emulator, capsys):
    orphans = {started("over"), started("failed")}
    others = {started("going on"), started("waits")}
    result, found = find_orphans()
    assert result.state == "success"
    assert found == orphans
    assert active(kernel_emulator) == orphans | others
    log = capsys.readouterr().out
    assert all(f"Invocation {orphan}" in log for orphan in orphans)
    assert "would be ended" in log
    assert kernel_emulator.requests("PATCH") == ()


def test_sweep_ends_orphans_and_nothing_else(find_orphans, started, kernel_emulator):
    orphans = {started("over"), started("failed")}
    others = {
        started("going on"),
        started("waits"),
        started("of another Airflow"),
        started("over", payload={"no": "mark"}),
        started("over", payload={"_airflow": "over"}),
        started("over", payload={"_other": {"dag_id": "d", "run_id": "over"}}),
    }
    _, found = find_orphans(dry_run_only=False)
    assert found == orphans
    assert active(kernel_emulator) == others


@pytest.mark.parametrize("map_index", [-1, 3])
def test_sweep_leaves_a_marked_invocation_that_its_task_does_not_own(
    map_index, find_orphans, started, kernel_emulator, execution_api
):
    owned, released = started("over", map_index=map_index), started("over", task_id="u", map_index=map_index)
    for task_id, external_id, is_owned in (("t", owned, True), ("u", released, False)):
        record = ownership(external_id, is_owned=is_owned)
        execution_api.other_xcoms["d", "over", task_id, map_index] = {"kernel_invocation_owner": record}
    assert find_orphans(dry_run_only=False)[1] == {owned}
    assert active(kernel_emulator) == {released}


def test_sweep_leaves_an_invocation_that_has_ended(find_orphans, started, kernel_emulator):
    kernel_emulator.finish(started("over"), output=1)
    assert find_orphans(dry_run_only=False)[1] == set()
    assert kernel_emulator.requests("PATCH") == ()


def test_sweep_ends_the_other_orphans_when_one_cannot_be_ended(find_orphans, started, kernel_emulator):
    stubborn, other = started("over"), started("over")
    kernel_emulator.add_fault(Fault("PATCH", f"/invocations/{stubborn}", nth=None, status=400))
    result, _ = find_orphans(dry_run_only=False)
    assert result.state == "failed"
    assert active(kernel_emulator) == {stubborn}
    assert kernel_emulator.invocation(other).status == "failed"


def test_sweep_reads_the_mark_under_the_given_correlation_key(find_orphans, started):
    orphan = started("over", payload={"airflow": {"dag_id": "d", "run_id": "over"}})
    assert find_orphans(correlation_key="airflow")[1] == {orphan}


def test_sweep_refuses_an_empty_correlation_key():
    with pytest.raises(KernelInputError, match="correlation_key is ''; it takes text that is not empty"):
        KernelCancelOrphansOperator(task_id="t", app_name="demo", correlation_key="")


@pytest.mark.parametrize("error", [RuntimeError("Airflow does not answer"), LookupError("no such run")])
def test_sweep_leaves_an_invocation_whose_run_cannot_be_read(error, find_orphans, started, monkeypatch):
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    def fail(*args, **kwargs):
        raise error

    started("over")
    monkeypatch.setattr(RuntimeTaskInstance, "get_dagrun_state", fail)
    assert find_orphans(dry_run_only=False)[1] == set()


def test_sweep_fetches_the_state_of_a_run_once(find_orphans, started, monkeypatch):
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    fetched = []
    fetch = RuntimeTaskInstance.get_dagrun_state

    def count(dag_id, run_id):
        fetched.append(run_id)
        return fetch(dag_id, run_id)

    for run_id in ("over", "over", "going on", "over"):
        started(run_id)
    monkeypatch.setattr(RuntimeTaskInstance, "get_dagrun_state", staticmethod(count))
    assert len(find_orphans()[1]) == 3
    assert sorted(fetched) == ["going on", "over"]


def test_sweep_goes_on_until_an_outage_is_over(find_orphans, started, kernel_emulator, monkeypatch):
    monkeypatch.setattr("airflow_provider_kernel.lifecycle.sweep.SWEEP_SECONDS", 30.0)
    for _ in range(3):
        started("over")
    kernel_emulator.outage("error", seconds=4, begin=("GET", "/invocations/*"))
    result, _ = find_orphans(dry_run_only=False)
    assert result.state == "success"
    assert active(kernel_emulator) == set()


def test_sweep_spends_its_time_on_all_orphans_at_once(find_orphans, started, kernel_emulator, caplog):
    orphans = [started("over") for _ in range(100)]
    kernel_emulator.add_fault(Fault("*", "/invocations/*", nth=None, status=500))
    began = time.monotonic()
    result, _ = find_orphans(dry_run_only=False)
    assert time.monotonic() - began < 20.0
    assert result.state == "up_for_retry"
    assert all(f"Invocation {orphan} could not be ended: " in caplog.text for orphan in orphans)
    assert "Next in line: the next run of this DAG; else Kernel's own time limit" in caplog.text


def test_sweep_logs_how_many_it_could_not_decide(find_orphans, started, capsys):
    started("over")
    started("going on")
    undecided = [started("of another Airflow"), started("over", payload={"no": "mark"})]
    find_orphans(dry_run_only=False)
    log = capsys.readouterr().out
    assert "Of 2 of the 4 active invocations it is unknown whose they are, or whether that is over" in log
    assert all(invocation_id in log for invocation_id in undecided)


# --- browsers ---------------------------------------------------------------------------------------------------


@pytest.fixture
def browser_of(kernel_emulator, kernel_connection):
    """Start a browser as a task does; of a run, and of an Airflow."""

    def browser_of(run_id, *, owner="https://airflow.example", dag_id="d", **tags):
        mark = BrowserMark(owner, dag_id, run_id, "t", -1, 1, "1")
        with KernelHook() as hook:
            return hook.browsers.create(tags={**mark.task_tags, **tags}).session_id

    return browser_of


def active_browsers(kernel):
    return {browser.session_id for browser in kernel.browsers if browser.is_active}


@pytest.fixture
def named_airflow(monkeypatch):
    monkeypatch.setenv("AIRFLOW_KERNEL_OWNER", "https://airflow.example")


@pytest.mark.usefixtures("named_airflow")
def test_sweep_ends_orphaned_browsers_and_nothing_else(
    make_task, execution_api, browser_of, kernel_emulator, started
):
    execution_api.dag_run_states = {"over": "success", "failed": "failed", "going on": "running"}
    kernel_emulator.room(Limits).max_concurrent_sessions = 20
    orphans = {browser_of("over"), browser_of("failed")}
    others = {
        browser_of("going on"),
        browser_of("not known here"),
        browser_of("over", owner="https://another.example"),
        browser_of("a,b"),  # only the hash of its name is in the tag
    }
    with KernelHook() as hook:
        others |= {hook.browsers.create(tags={"team": "x"}).session_id, hook.browsers.create().session_id}
    invocation = started("over")
    result = make_task(KernelCancelOrphansOperator, what=["browsers"], dry_run_only=False).run()
    assert result.state == "success", result.error
    assert set(execution_api.xcoms["return_value"]) == orphans
    assert active_browsers(kernel_emulator) == others
    assert active(kernel_emulator) == {invocation}


@pytest.mark.usefixtures("named_airflow")
def test_sweep_of_both_kinds_finds_both_and_a_dry_run_ends_none(
    make_task, execution_api, browser_of, kernel_emulator, started
):
    execution_api.dag_run_states = {"over": "success"}
    orphans = {browser_of("over"), started("over")}
    what = ["invocations", "browsers"]
    assert make_task(KernelCancelOrphansOperator, what=what, app_name="demo").run().state == "success"
    assert set(execution_api.xcoms["return_value"]) == orphans
    assert active_browsers(kernel_emulator) | active(kernel_emulator) == orphans


def test_sweep_of_an_airflow_that_nothing_names_leaves_browsers_alone(
    make_task, execution_api, browser_of, kernel_emulator, capsys
):
    execution_api.dag_run_states = {"over": "success"}
    browser = browser_of("over", owner="airflow")
    assert make_task(KernelCancelOrphansOperator, what=["browsers"], dry_run_only=False).run().state == "success"
    assert active_browsers(kernel_emulator) == {browser}
    assert "Nothing says which Airflow this is" in capsys.readouterr().out


def test_sweep_of_invocations_needs_an_app():
    with pytest.raises(KernelInputError, match="give app_name"):
        KernelCancelOrphansOperator(task_id="t")
