"""What happens to the processes of a task: rows 8 to 12, 14c and 18."""

import signal

import psutil
import pytest

from system.browser_scenario import BrowserRun
from system.scenario import BLOCKING, DEFERRABLE, MAPPED_BLOCKING
from system.under_test.browser_variants import CODE


@pytest.mark.row("8", "SIGTERM to the task", celery=True)
@pytest.mark.modes(BLOCKING)
def test_sigterm_to_the_task(scenario):
    run = scenario("retries").until_waiting()
    run.kill(signal.SIGTERM)
    run.expect_cancelled()
    run.expect_new_one()
    run.expect_started(2)
    run.end()


@pytest.mark.row("8", "SIGTERM to its supervisor", celery=True)
@pytest.mark.modes(BLOCKING)
def test_sigterm_to_the_supervisor(scenario):
    run = scenario("plain").until_waiting()
    run.kill(signal.SIGTERM, task=False, supervisor=True)
    run.expect_cancelled()
    run.until_state("failed")
    run.expect_started(1)
    run.end()


@pytest.mark.row("9", "SIGINT to the task", naive_fails=[BLOCKING])
@pytest.mark.modes(BLOCKING)
def test_sigint(scenario):
    run = scenario("net").until_waiting()
    run.kill(signal.SIGINT)
    run.expect_cancelled()
    run.until_state("failed")
    run.expect_started(1)
    run.end()


@pytest.mark.row("10", "SIGKILL to the task, retries left", celery=True, naive_fails=[BLOCKING])
@pytest.mark.modes(BLOCKING, MAPPED_BLOCKING)
def test_sigkill_with_retries(scenario):
    run = scenario("retries").until_waiting()
    run.kill(signal.SIGKILL)
    run.until_noted("execute", 2 * run.width)
    run.until_looked_at()
    run.expect_going_on()
    run.expect_success()
    run.expect_started(1)
    run.end()


@pytest.mark.row("10", "SIGKILL before it defers, retries left")
@pytest.mark.modes(DEFERRABLE)
def test_sigkill_before_the_deferral(scenario):
    run = scenario("gated_retries").until_started()
    run.until_noted("at the gate")
    run.kill(signal.SIGKILL)
    run.open_gate()
    run.until_state("deferred", over=False)
    run.expect_going_on()
    run.expect_success()
    run.expect_started(1)
    run.end()


@pytest.mark.row("11", "SIGKILL to the task, no retry left", celery=True, naive_fails=[BLOCKING])
@pytest.mark.modes(BLOCKING, MAPPED_BLOCKING)
def test_sigkill_without_retries(scenario):
    run = scenario("net").until_waiting()
    run.kill(signal.SIGKILL)
    run.expect_cancelled()
    run.until_state("failed")
    run.expect_started(1)
    run.end()


@pytest.mark.row("12", "worker lost, retries left", celery=True, naive_fails=[BLOCKING])
@pytest.mark.modes(BLOCKING)
def test_worker_lost_with_retries(scenario, lost_worker):
    run = scenario("retries").until_waiting()
    lost_worker(run)
    run.until_noted("execute", 2, timeout=120)  # Airflow counts a worker as lost after 30 s here
    run.until_looked_at()
    run.expect_going_on()
    run.expect_success()
    run.expect_started(1)
    run.end()


@pytest.mark.row("12", "worker lost, no retry left", celery=True, naive_fails=[BLOCKING])
@pytest.mark.modes(BLOCKING)
def test_worker_lost_without_retries(scenario, lost_worker):
    run = scenario("net").until_waiting()
    lost_worker(run)
    run.expect_cancelled(within=120)
    run.until_state("failed")
    run.expect_started(1)
    run.end()


@pytest.mark.row("12b", "a sibling goes on")
def test_net_of_the_task_while_a_sibling_goes_on(start, lost_worker):
    lost, killed = (
        start("both_nets", BLOCKING, "12b", f"{what}, while a sibling goes on")
        for what in ("worker lost, no retry left", "SIGKILL to the task, no retry left")
    )
    for run in (lost, killed):
        run.until_waiting()
        run.until_noted("at the gate")
    lost_worker(lost)
    killed.kill(signal.SIGKILL)
    lost.expect_cancelled(within=120)
    lost.expect_run_goes_on()
    # Airflow calls no callback of a task whose process alone was killed.
    killed.until_state("failed")
    killed.expect_run_goes_on()
    killed.expect_going_on()
    killed.act()
    killed.open_gate()
    lost.open_gate()
    killed.expect_cancelled()
    for run in (lost, killed):
        run.until_state("failed")
        run.expect_started(1)
        run.end()


@pytest.fixture
def lost_worker(stack):
    """Lose the worker of a run: with Celery the whole worker, which is started again."""
    lost = []

    def lose(run):
        supervisor = psutil.Process(run.until_noted("execute")["parent"])
        worker = next((w for w in stack.workers if w.pid in [p.pid for p in supervisor.parents()]), None)
        run.kill(signal.SIGKILL, supervisor=True)
        if worker is not None:
            worker.stop(signal.SIGKILL)
            lost.append(worker)

    yield lose
    for worker in lost:
        stack.start_worker(int(worker.name.rpartition("-")[2]))


@pytest.mark.row("14c", "API server away for 45 s")
def test_api_server_away(start, api_server_away):
    title = "API server away for 45 s"
    deferred = start("patient", DEFERRABLE, "14c", title)
    blocking = start("patient", BLOCKING, "14c", title)
    browser = start("patient", CODE, "14c", title, kind=BrowserRun)
    for run in (deferred, blocking, browser):
        run.until_waiting()
    for run in (deferred, blocking, browser):
        run.act()
    with api_server_away:
        # After 40 s and three heartbeats without an answer, Airflow kills a task; on_kill cannot tell why.
        blocking.expect_cancelled(within=90)
        browser.expect_deleted(within=90)
        deferred.until_looked_at(5)
    deferred.expect_going_on()
    deferred.expect_success()
    deferred.expect_started(1)
    for run in (blocking, browser):
        run.expect_new_one()
        run.expect_started(2)
    for run in (deferred, blocking, browser):
        run.end()


@pytest.mark.row("18", "marked failed while queued")
@pytest.mark.modes(BLOCKING, DEFERRABLE)
def test_marked_failed_while_queued(scenario, frozen_workers):
    with frozen_workers:
        run = scenario("plain")
        run.until_state("queued", over=False)
        run.mark("failed")
    run.until_run_is_over()
    run.until_state("failed")
    run.until_workers_are_free()
    run.expect_started(0)
    run.end()
