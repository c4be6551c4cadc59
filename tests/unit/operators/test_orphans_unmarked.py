"""The sweep, for invocations without a mark: their tasks are found by ownership records in XCom."""

from datetime import timedelta

import pytest
from support.dag_callbacks import ownership

from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.client.timestamps import utc_now
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.operators.orphans import KernelCancelOrphansOperator

KEY = "kernel_invocation_owner"
NOW = utc_now()
RECENT = f"scheduled__{(NOW - timedelta(minutes=5)).isoformat()}"
OLD = f"scheduled__{(NOW - timedelta(hours=5)).isoformat()}"


@pytest.fixture
def started(kernel_emulator, kernel_connection):
    def start():
        with KernelHook() as hook:
            return hook.invoke("demo", "hang", {"no": "mark"}).id

    return start


@pytest.fixture
def owned(started, execution_api):
    """Start an invocation that a task instance owns, which has this state now."""

    def owned(dag_id, run_id, task_id, state, *, map_index=-1, run="running", is_owned=True):
        external_id = started()
        name = task_id if map_index < 0 else f"{task_id}_{map_index}"
        execution_api.other_task_states.setdefault(dag_id, {}).setdefault(run_id, {})[name] = state
        record = ownership(external_id, is_owned=is_owned)
        execution_api.other_xcoms[dag_id, run_id, task_id, map_index] = {KEY: record}
        execution_api.dag_run_states[run_id] = run
        return external_id

    return owned


@pytest.fixture
def sweep(make_task, execution_api):
    def sweep(**arguments):
        make_task(KernelCancelOrphansOperator, app_name="demo", dry_run_only=False, **arguments).run()
        return set(execution_api.xcoms.get("return_value") or ())

    return sweep


def active(kernel):
    return {invocation.id for invocation in kernel.invocations if not invocation.finished}


def xcom_reads(api):
    return [path for method, path in api.requests if path.startswith("/xcoms/") and method == "GET"]


@pytest.mark.parametrize("state", ["success", "failed", "skipped", "upstream_failed", "removed"])
def test_sweep_ends_an_unmarked_invocation_whose_task_is_over(state, owned, sweep, kernel_emulator):
    orphan = owned("etl", "r1", "browse", state)
    assert sweep(dag_ids=["etl"]) == {orphan}
    assert kernel_emulator.invocation(orphan).output_json == {"error": "Its Airflow task is over"}


@pytest.mark.parametrize("state", ["up_for_retry", "running", "queued", None])
def test_sweep_ends_an_unmarked_invocation_whose_run_is_over(state, owned, sweep, kernel_emulator):
    orphan = owned("etl", "r1", "browse", state, run="failed")
    assert sweep(dag_ids=["etl"]) == {orphan}
    assert kernel_emulator.invocation(orphan).output_json == {"error": "Its Airflow DAG run is over"}


@pytest.mark.parametrize(
    "state", ["running", "deferred", "up_for_retry", "scheduled", "queued", "restarting", "up_for_reschedule", None]
)
def test_sweep_leaves_an_unmarked_invocation_whose_task_goes_on(state, owned, sweep, kernel_emulator):
    healthy = owned("etl", "r1", "browse", state)
    assert sweep(dag_ids=["etl"]) == set()
    assert active(kernel_emulator) == {healthy}


def test_sweep_leaves_an_unmarked_invocation_that_its_task_does_not_own(owned, sweep, kernel_emulator, capsys):
    released = owned("etl", "r1", "browse", "success", is_owned=False)
    assert sweep(dag_ids=["etl"]) == set()
    assert active(kernel_emulator) == {released}
    assert "it is unknown whose they are" not in capsys.readouterr().out


def test_sweep_leaves_unmarked_invocations_of_dags_that_are_not_named(owned, sweep, kernel_emulator, capsys):
    other = owned("other", "r1", "browse", "failed", run="failed")
    assert sweep(dag_ids=["etl"]) == set()
    assert active(kernel_emulator) == {other}
    assert "Of 1 of the 1 active invocations it is unknown whose they are" in capsys.readouterr().out


def test_sweep_asks_airflow_nothing_about_dags_when_each_active_invocation_has_a_mark(
    owned, sweep, kernel_emulator, execution_api
):
    kernel_emulator.finish(owned("etl", "r1", "browse", "success"), output=1)
    sweep(dag_ids=["etl"])
    assert xcom_reads(execution_api) == []
    assert not [path for _, path in execution_api.requests if path == "/task-instances/states"]


def test_sweep_decides_for_each_instance_of_a_mapped_task(owned, sweep, kernel_emulator):
    over = {
        owned("etl", "r1", "browse", "failed", map_index=0),
        owned("etl", "r1", "browse", "success", map_index=2),
    }
    healthy = owned("etl", "r1", "browse", "running", map_index=1)
    assert sweep(dag_ids=["etl"]) == over
    assert active(kernel_emulator) == {healthy}


def test_sweep_finds_tasks_whose_ids_resemble_those_of_mapped_instances(owned, sweep):
    orphans = {owned("etl", "r1", "browse_0", "failed"), owned("etl", "r1", "browse_1", "failed")}
    assert sweep(dag_ids=["etl"]) == orphans


def test_sweep_searches_all_dags_and_goes_on_when_one_cannot_be_read(owned, sweep, monkeypatch, caplog):
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    orphan = owned("etl", "r1", "browse", "failed")
    fetch = RuntimeTaskInstance.get_task_states

    def fail_for_one(dag_id, **arguments):
        if dag_id == "broken":
            raise ConnectionError("the API server does not answer")
        return fetch(dag_id=dag_id, **arguments)

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(fail_for_one))
    assert sweep(dag_ids=["broken", "etl"]) == {orphan}
    assert "What the tasks of DAG broken own cannot be read: the API server" in caplog.text


def test_sweep_reads_no_finished_run_that_began_before_since(owned, sweep, execution_api):
    orphan = owned("etl", RECENT, "browse", "failed", run="failed")
    hidden = owned("etl", OLD, "browse", "failed", run="failed")
    assert sweep(dag_ids=["etl"]) == {orphan}
    assert not any(OLD in path for path in xcom_reads(execution_api))
    assert sweep(dag_ids=["etl"], since="6h") == {hidden}


@pytest.mark.parametrize(
    "run_id",
    [OLD.replace("scheduled", "backfill"), "made by hand", RECENT],
    ids=["backfill", "without a time", "recent"],
)
def test_sweep_reads_a_finished_run_that_may_have_begun_since(run_id, owned, sweep):
    orphan = owned("etl", run_id, "browse", "failed", run="failed")
    assert sweep(dag_ids=["etl"]) == {orphan}


def test_sweep_reads_an_unfinished_run_however_long_ago_it_began(owned, sweep, execution_api):
    orphan = owned("etl", OLD, "browse", "failed")
    execution_api.other_task_states["etl"][OLD]["next"] = "running"
    assert sweep(dag_ids=["etl"]) == {orphan}


def test_sweep_stops_reading_when_each_invocation_has_its_owner(owned, sweep, execution_api):
    owned("etl", "r1", "browse", "running")
    for number in range(20):
        execution_api.other_task_states["etl"][f"made by hand {number}"] = {"browse": "success"}
    sweep(dag_ids=["etl"])
    assert len(xcom_reads(execution_api)) == 1


def test_sweep_stops_reading_a_task_that_never_writes_a_record(started, sweep, execution_api):
    started()
    execution_api.other_task_states["etl"] = {f"made by hand {n}": {"plain": "success"} for n in range(20)}
    sweep(dag_ids=["etl"])
    assert len(xcom_reads(execution_api)) == 3


def test_sweep_renders_its_dag_ids(owned, sweep):
    orphan = owned("etl_r", "r1", "browse", "failed")
    assert sweep(dag_ids=["etl_{{ run_id }}"]) == {orphan}


def test_sweep_refuses_a_text_as_dag_ids():
    with pytest.raises(KernelInputError, match=r"dag_ids is the text 'etl'; give a list, such as \['etl'\]"):
        KernelCancelOrphansOperator(task_id="t", app_name="demo", dag_ids="etl")
