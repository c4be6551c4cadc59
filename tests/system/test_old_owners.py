"""What an old process of a task does that comes back after the next try took its invocation up: row 23."""

import os
import signal

import psutil
import pytest

from airflow_stack.rest import wait_until
from system.scenario import BLOCKING


@pytest.mark.row("23", "task and supervisor stopped past the heartbeat timeout, then continued", celery=True)
@pytest.mark.modes(BLOCKING)
def test_stopped_process_comes_back(scenario):
    run = scenario("retries").until_waiting()
    old = run.until_noted("execute")
    run.kill(signal.SIGSTOP, supervisor=True)
    run.until_noted("execute", 2, timeout=120)  # Airflow counts a task as lost after 30 s here
    run.until_looked_at()
    for pid in (old["parent"], old["pid"]):
        os.kill(pid, signal.SIGCONT)
    expect_old_process_to_leave(run, old)


@pytest.mark.row("23", "scheduler gets a SIGKILL, and is back when it counts as lost")
@pytest.mark.modes(BLOCKING)
def test_scheduler_is_killed_and_comes_back(scenario, stack):
    run = scenario("retries").until_waiting()
    old = run.until_noted("execute")
    run.act()
    scheduler = stack.programs["scheduler"]
    scheduler.kill_alone()
    try:
        wait_until(
            lambda: stack.api.health().get("scheduler") == "unhealthy",
            timeout=90,
            what=lambda: f"Airflow is {stack.api.health()}",
        )
    finally:
        scheduler.start()
    run.until_noted("execute", 2, timeout=120)
    expect_old_process_to_leave(run, old)


def expect_old_process_to_leave(run, old):
    wait_until(lambda: has_ended(old["pid"]), timeout=60, what=lambda: "the old process goes on")
    run.until_noted("operator.on_kill")
    run.expect_going_on()
    run.until_looked_at()
    run.expect_going_on()
    run.expect_success()
    run.expect_started(1)
    run.end()


def has_ended(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
