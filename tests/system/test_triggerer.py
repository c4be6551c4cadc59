"""What happens to the triggerer: rows 13 to 15b."""

import signal

import pytest

from system.scenario import DEFERRABLE, MAPPED


@pytest.fixture
def triggerer(stack):
    """The triggerer, running again after the test."""
    triggerer = stack.programs["triggerer"]
    yield triggerer
    if not triggerer.is_running:
        triggerer.stop()
        triggerer.start()


@pytest.mark.row("13", "triggerer stops and starts")
@pytest.mark.modes(DEFERRABLE, MAPPED)
def test_triggerer_restarts(scenario, triggerer):
    run = scenario("plain").until_waiting()
    run.act()
    triggerer.stop()
    triggerer.start()
    run.until_noted("trigger.run", 2 * run.width, timeout=120)
    run.until_looked_at()
    run.expect_going_on()
    run.expect_success()
    run.expect_started(1)
    run.end()


@pytest.mark.row("14", "triggerer gets a SIGKILL and starts")
@pytest.mark.modes(DEFERRABLE)
def test_triggerer_is_killed(scenario, triggerer):
    run = scenario("plain").until_waiting()
    run.act()
    triggerer.stop(signal.SIGKILL)
    triggerer.start()
    run.until_noted("trigger.run", 2, timeout=120)
    run.until_looked_at()
    run.expect_going_on()
    run.expect_success()
    run.expect_started(1)
    run.end()


@pytest.mark.row("14b", "triggerer frozen, another takes over, it thaws", naive_fails=[DEFERRABLE])
@pytest.mark.modes(DEFERRABLE)
def test_triggerer_thaws(scenario, triggerer, stack):
    run = scenario("plain").until_waiting()
    run.act()
    triggerer.send_signal(signal.SIGSTOP)
    second = stack.start_program("triggerer-2", "triggerer")
    try:
        run.until_noted("trigger.run", 2, timeout=120)
        triggerer.send_signal(signal.SIGCONT)
        run.until_noted("trigger.on_kill", timeout=60)
        run.until_looked_at(5)
        run.expect_going_on()
        run.expect_success()
        run.expect_started(1)
        run.end()
    finally:
        triggerer.send_signal(signal.SIGCONT)
        second.stop()


@pytest.mark.row("15", "marked failed while no triggerer runs", naive_fails=[DEFERRABLE])
@pytest.mark.modes(DEFERRABLE, MAPPED)
def test_marked_failed_without_a_triggerer(scenario, triggerer):
    run = scenario("net").until_waiting()
    triggerer.stop(signal.SIGKILL)
    run.mark("failed")
    run.expect_cancelled()
    run.until_state("failed")
    run.expect_started(1)
    run.end()


@pytest.mark.row("15", "marked failed before another triggerer takes over")
@pytest.mark.modes(DEFERRABLE)
def test_marked_failed_before_another_triggerer_takes_over(scenario, triggerer, stack):
    run = scenario("net").until_waiting()
    second = stack.start_program("triggerer-2", "triggerer")
    try:
        triggerer.stop(signal.SIGKILL)
        run.mark("failed")
        run.expect_cancelled()
        run.until_state("failed")
        run.expect_started(1)
        run.end()
    finally:
        second.stop()


@pytest.mark.row("15b", "cleared while no triggerer runs", naive_fails=[DEFERRABLE])
@pytest.mark.modes(DEFERRABLE)
def test_cleared_without_a_triggerer(scenario, triggerer):
    run = scenario("plain").until_waiting()
    triggerer.stop(signal.SIGKILL)
    run.clear()
    run.expect_cancelled()
    triggerer.start()
    run.expect_new_one()
    run.expect_started(2)
    run.end()
