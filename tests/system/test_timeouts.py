"""What ends by itself: rows 1 (the DAG run's timeout), 5, 6, 7, 20 and 21."""

import pytest

from system.scenario import BLOCKING, DEFERRABLE, MAPPED
from system.under_test.variants import AIRFLOW_TIMEOUT, DAGRUN_TIMEOUT, EXECUTION_TIMEOUT


@pytest.mark.row("1", "dagrun_timeout")
@pytest.mark.modes(BLOCKING, DEFERRABLE)
def test_dagrun_timeout(scenario):
    run = scenario("dagrun_timeout").until_waiting()
    run.act(at=run.started_at + DAGRUN_TIMEOUT)
    run.expect_cancelled(within=60)
    run.until_state("skipped")
    run.expect_started(1)
    run.end()


@pytest.mark.row("5", "execution_timeout", celery=True, naive_fails=[DEFERRABLE])
@pytest.mark.modes(BLOCKING, DEFERRABLE, full=(MAPPED,))
def test_execution_timeout(scenario):
    run = scenario("timeout").until_waiting()
    run.act(at=run.until_noted("execute")["at"] + EXECUTION_TIMEOUT)
    run.expect_cancelled()
    run.until_state("failed")
    run.expect_started(1)
    run.end()


@pytest.mark.row("6", "Airflow ends the deferral", naive_fails=[DEFERRABLE])
@pytest.mark.modes(DEFERRABLE)
def test_deferral_timeout(scenario):
    run = scenario("airflow_timeout").until_waiting()
    run.act(at=run.until_noted("trigger.run")["at"] + AIRFLOW_TIMEOUT)
    run.expect_cancelled(within=60)  # Airflow looks for such deferrals every 15 s
    run.until_state("failed")
    run.expect_started(1)
    run.end()


@pytest.mark.row("7", "trigger crashes", naive_fails=[DEFERRABLE])
@pytest.mark.modes(DEFERRABLE)
def test_trigger_crashes(scenario):
    run = scenario("trigger_crash").until_started()
    crash = run.until_noted("trigger.run")
    run.act(at=crash["at"])
    run.expect_cancelled()
    run.until_state("failed")
    run.expect_started(1)
    run.end()


@pytest.mark.row("20", "succeeds")
@pytest.mark.modes(BLOCKING, DEFERRABLE, full=(MAPPED,))
def test_success_returns_the_output(scenario):
    run = scenario("short")
    run.until_state("success")
    run.expect_nothing_sent()
    run.expect_started(1)
    run.end()


@pytest.mark.row("20b", "40 succeed within 0.5 to 15 s, no retries", celery=True)
@pytest.mark.modes(DEFERRABLE)
def test_short_deferrals_are_not_taken_for_lost_processes(scenario):
    """``tests/benchmarks/short_deferrals.py`` is the same with 200 tasks and busy cores, also without the mend."""
    run = scenario("brief")
    run.until_run_is_over(timeout=300)
    assert set(run.states()) == {"success"}
    run.expect_nothing_sent()
    run.expect_started(1)
    run.end()


@pytest.mark.row("21", "invocation fails, retries left")
@pytest.mark.modes(BLOCKING, DEFERRABLE)
def test_invocation_fails(scenario):
    run = scenario("failing")
    run.until_state("failed")
    run.expect_nothing_sent()
    run.expect_started(2)
    run.end()
