"""What a person does in the UI: rows 1 to 4 and 16 to 18."""

import pytest

from system.scenario import BLOCKING, DEFERRABLE, MAPPED


@pytest.mark.row("1", "marked failed", celery=True)
@pytest.mark.modes(BLOCKING, DEFERRABLE, MAPPED)
def test_marked_failed(scenario):
    run = scenario("plain").until_waiting()
    run.mark("failed")
    run.expect_cancelled()
    run.until_state("failed")
    run.expect_started(1)
    run.end()


@pytest.mark.row("1", "DAG run marked failed", celery=True)
@pytest.mark.modes(BLOCKING, DEFERRABLE, full=(MAPPED,))
def test_dag_run_marked_failed(scenario):
    run = scenario("plain").until_waiting()
    run.mark_run("failed")
    run.expect_cancelled()
    run.until_state("failed")
    run.expect_started(1)
    run.end()


@pytest.mark.row("2", "marked success", celery=True)
@pytest.mark.modes(BLOCKING, DEFERRABLE, full=(MAPPED,))
def test_marked_success(scenario):
    run = scenario("plain").until_waiting()
    run.mark("success")
    run.expect_cancelled()
    run.until_state("success")
    run.expect_started(1)
    run.end()


@pytest.mark.row("2", "DAG run marked success", celery=True)
@pytest.mark.modes(BLOCKING, DEFERRABLE)
def test_dag_run_marked_success(scenario):
    run = scenario("plain").until_waiting()
    run.mark_run("success")
    run.expect_cancelled()
    run.until_state("success")
    run.expect_started(1)
    run.end()


@pytest.mark.row("3", "cleared", celery=True, naive_fails=[DEFERRABLE])
@pytest.mark.modes(BLOCKING, DEFERRABLE, MAPPED)
def test_cleared(scenario):
    run = scenario("plain").until_waiting()
    run.clear()
    run.expect_cancelled()
    run.expect_new_one()
    run.expect_started(2)
    run.end()


@pytest.mark.row("3", "cleared, retries left")
@pytest.mark.modes(BLOCKING, DEFERRABLE)
def test_cleared_with_retries_left(scenario):
    run = scenario("retries").until_waiting()
    run.clear()
    run.expect_cancelled()
    run.expect_new_one()
    run.expect_started(2)
    run.end()


@pytest.mark.row("3", "cleared after its success")
@pytest.mark.modes(BLOCKING, DEFERRABLE)
def test_cleared_after_its_success(scenario):
    run = scenario("retries").until_waiting()
    run.expect_success()
    run.clear()
    run.expect_new_one()
    run.expect_started(2)
    run.end()


@pytest.mark.row("4", "task instance deleted", naive_fails=[BLOCKING, DEFERRABLE])
@pytest.mark.modes(BLOCKING, DEFERRABLE)
def test_task_instance_deleted(scenario):
    run = scenario("plain").until_waiting()
    run.delete_task_instance()
    run.expect_cancelled()
    if run.is_deferrable:
        run.expect_new_one()
    else:
        # Airflow takes the end of the old process for that of the new task, if that is running by then.
        run.until_state_follows_invocation()
    run.check_one_at_a_time()
    run.end()


@pytest.mark.row("16", "DAG paused")
@pytest.mark.modes(BLOCKING, DEFERRABLE)
def test_dag_paused(scenario, stack):
    run = scenario("plain").until_waiting()
    run.act()
    stack.api.pause(run.dag_id)
    try:
        # Airflow may take 5 s to tell its scheduler that a worker is done, and fails a task that is back by then.
        run.until_looked_at(8)
        run.expect_going_on()
    finally:
        # Airflow resumes no deferred task of a paused DAG.
        stack.api.pause(run.dag_id, paused=False)
    run.expect_success()
    run.expect_started(1)
    run.end()


@pytest.mark.row("17", "DAG deleted")
@pytest.mark.modes(DEFERRABLE)
def test_dag_deleted(scenario, stack):
    run = scenario("deleted").until_waiting()
    run.act()
    stack.api.delete_dag(run.dag_id)
    run.expect_cancelled()
    run.expect_started(1)
    run.end(states=["(gone)"])


@pytest.mark.row("18", "marked failed while scheduled")
@pytest.mark.modes(BLOCKING, DEFERRABLE)
def test_marked_failed_while_scheduled(scenario):
    run = scenario("held_back")
    run.until_noted("at the gate")  # another task has the DAG's only slot
    run.until_state("scheduled", over=False)
    run.mark("failed")
    run.open_gate()
    run.until_run_is_over()
    run.until_state("failed")
    run.expect_started(0)
    run.end()
