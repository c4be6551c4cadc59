"""What happens in the moments between the create request and the wait: rows 19 and 19b."""

import pytest

from airflow_provider_kernel.testing import Fault
from system.scenario import BLOCKING, DEFERRABLE


@pytest.mark.row("19", "killed during the create, answered late", celery=True, naive_fails=[BLOCKING, DEFERRABLE])
@pytest.mark.modes(BLOCKING, DEFERRABLE)
def test_killed_during_the_create_that_is_answered(scenario, kernel):
    create = kernel.add_fault(Fault("POST", "/invocations", hold=True))
    run = scenario("plain")
    create.wait_until_held(timeout=90)
    run.mark("failed")
    run.until_noted("operator.on_kill")
    create.release()
    run.expect_cancelled()
    run.until_state("failed")
    run.expect_started(1)
    run.end()


@pytest.mark.row("19", "killed during the create, never answered", celery=True, naive_fails=[BLOCKING, DEFERRABLE])
@pytest.mark.modes(BLOCKING, DEFERRABLE)
def test_killed_during_the_create_that_is_never_answered(scenario, kernel):
    create = kernel.add_fault(Fault("POST", "/invocations", hold=True))
    run = scenario("plain")
    create.wait_until_held(timeout=90)
    run.mark("failed")
    run.expect_cancelled()
    run.until_state("failed")
    create.release()
    run.expect_started(1)
    run.end()


@pytest.mark.row("19b", "marked failed before the last look at the task", celery=True)
@pytest.mark.modes(DEFERRABLE)
def test_marked_failed_before_it_asks(scenario, kernel):
    start = kernel.add_fault(Fault("POST", "/invocations", hold=True))
    run = scenario("plain")
    start.wait_until_held(timeout=90)
    # Only now: a killed process of the row before may have polled until a moment ago.
    look = kernel.add_fault(Fault("GET", "/invocations/*", hold=True))
    start.release()
    look.wait_until_held(timeout=90)
    run.mark("failed")
    look.release()
    run.expect_cancelled()
    run.until_state("failed")
    run.expect_started(1)
    run.end()


@pytest.mark.row("19b", "marked failed in the moment it defers", celery=True, naive_fails=[DEFERRABLE])
@pytest.mark.modes(DEFERRABLE)
def test_marked_failed_as_it_defers(scenario):
    run = scenario("gated")
    run.until_noted("at the gate")
    run.mark("failed")
    run.open_gate()
    run.expect_cancelled()
    run.until_state("failed")
    run.expect_started(1)
    run.end()


@pytest.mark.row("19b", "cleared in the moment it defers", celery=True, naive_fails=[DEFERRABLE])
@pytest.mark.modes(DEFERRABLE)
def test_cleared_as_it_defers(scenario):
    run = scenario("gated")
    run.until_noted("at the gate")
    run.clear()
    run.open_gate()
    run.expect_cancelled(within=60)
    run.expect_new_one()
    run.expect_started(2)
    run.end()
