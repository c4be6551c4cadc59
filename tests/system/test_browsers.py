"""
Tasks with a browser: rows 1 to 5, 8 to 12, 14c, 16 to 22.

``page``: the function is blocked in Playwright's page of a real Chromium. ``checks`` and ``code``: it waits without
the browser, and looks whether the task was killed, or does not.
"""

import signal

import psutil
import pytest

from airflow_provider_kernel.testing import Fault
from airflow_provider_kernel.testing.resources.limits import Limits
from system.browser_scenario import BrowserRun
from system.under_test.browser_variants import CHECKS, CODE, DAGRUN_TIMEOUT, EXECUTION_TIMEOUT, PAGE


@pytest.fixture
def scenario(matrix, kernel, mode, request):
    """Start a run of a variant, with the function of the test; the end of the test ends what is left of it."""
    kernel.room(Limits).max_concurrent_sessions = 100
    runs = []

    def start(variant):
        run = BrowserRun(matrix, variant, mode, *request.node.get_closest_marker("row").args)
        runs.append(run)
        return run.start()

    matrix.stack.wait_until_healthy()
    yield start
    for run in runs:
        run.sweep()


def expect_killed(run, state):
    run.expect_cancelled()
    if run.mode in (PAGE, CHECKS):
        run.expect_unwound()
    run.until_state(state)
    run.expect_started(1)
    run.end()


@pytest.mark.row("1", "marked failed", celery=True)
@pytest.mark.modes(PAGE, full=(CHECKS, CODE))
def test_marked_failed(scenario):
    run = scenario("plain").until_waiting()
    run.mark("failed")
    expect_killed(run, "failed")


@pytest.mark.row("1", "marked failed, DevTools connection kept open")
@pytest.mark.modes(PAGE)
def test_marked_failed_while_kernel_keeps_the_connection_open(scenario, kernel):
    kernel.switches.cdp_open_after_delete = True
    try:
        run = scenario("plain").until_waiting()
        run.mark("failed")
        expect_killed(run, "failed")
    finally:
        kernel.switches.cdp_open_after_delete = False


@pytest.mark.row("1", "DAG run marked failed")
@pytest.mark.modes(CHECKS, full=(PAGE, CODE))
def test_dag_run_marked_failed(scenario):
    run = scenario("plain").until_waiting()
    run.mark_run("failed")
    expect_killed(run, "failed")


@pytest.mark.row("1", "dagrun_timeout")
@pytest.mark.modes(PAGE, full=(CHECKS, CODE))
def test_dagrun_timeout(scenario):
    run = scenario("dagrun_timeout").until_waiting()
    run.act(at=run.started_at + DAGRUN_TIMEOUT)
    run.expect_cancelled(within=60)
    run.until_state("skipped")
    run.expect_started(1)
    run.end()


@pytest.mark.row("2", "marked success")
@pytest.mark.modes(PAGE, full=(CHECKS, CODE))
def test_marked_success(scenario):
    run = scenario("plain").until_waiting()
    run.mark("success")
    expect_killed(run, "success")


@pytest.mark.row("2", "DAG run marked success")
@pytest.mark.modes(CODE, full=(PAGE, CHECKS))
def test_dag_run_marked_success(scenario):
    run = scenario("plain").until_waiting()
    run.mark_run("success")
    expect_killed(run, "success")


@pytest.mark.row("3", "cleared")
@pytest.mark.modes(PAGE, full=(CHECKS, CODE))
def test_cleared(scenario):
    run = scenario("plain").until_waiting()
    run.clear()
    run.expect_cancelled()
    run.expect_new_one()
    run.expect_started(2)
    run.end()


@pytest.mark.row("3", "cleared after its success")
@pytest.mark.modes(PAGE, full=(CHECKS, CODE))
def test_cleared_after_its_success(scenario):
    run = scenario("plain")
    run.expect_success()
    run.clear()
    run.until_noted("working", 2)
    run.expect_success()
    run.expect_started(2)
    run.end()


@pytest.mark.row("4", "task instance deleted")
@pytest.mark.modes(PAGE, full=(CHECKS, CODE))
def test_task_instance_deleted(scenario):
    run = scenario("plain").until_waiting()
    run.delete_task_instance()
    run.expect_cancelled()
    run.open_gate()
    # Airflow takes the end of the old process for that of the new task, if that is running by then.
    run.until_run_is_over(timeout=120)
    run.check_one_at_a_time()
    run.end()


@pytest.mark.row("5", "execution_timeout")
@pytest.mark.modes(CODE, full=(PAGE, CHECKS))
def test_execution_timeout(scenario):
    run = scenario("timeout").until_waiting()
    run.act(at=run.until_noted("execute")["at"] + EXECUTION_TIMEOUT)
    run.expect_cancelled()
    run.until_state("failed")
    run.expect_started(1)
    run.end()


@pytest.mark.row("8", "SIGTERM to the task, retries left")
@pytest.mark.modes(PAGE, full=(CHECKS, CODE))
def test_sigterm_to_the_task(scenario):
    run = scenario("retries").until_waiting()
    run.kill(signal.SIGTERM)
    run.expect_cancelled()
    run.expect_new_one()
    run.expect_started(2)
    run.end()


@pytest.mark.row("8", "SIGTERM to its supervisor")
@pytest.mark.modes(CHECKS, full=(PAGE, CODE))
def test_sigterm_to_the_supervisor(scenario):
    run = scenario("plain").until_waiting()
    run.kill(signal.SIGTERM, task=False, supervisor=True)
    expect_killed(run, "failed")


@pytest.mark.row("9", "SIGINT to the task")
@pytest.mark.modes(PAGE, full=(CHECKS, CODE))
def test_sigint(scenario):
    run = scenario("net").until_waiting()
    run.kill(signal.SIGINT)
    run.expect_cancelled()
    run.until_state("failed")
    run.expect_started(1)
    run.end()


@pytest.mark.row("10", "SIGKILL to the task, retries left", celery=True)
@pytest.mark.modes(PAGE, full=(CHECKS, CODE))
def test_sigkill_with_retries(scenario):
    run = scenario("retries").until_waiting()
    run.kill(signal.SIGKILL)
    run.expect_cancelled(within=60)  # by the next try
    run.expect_new_one()
    run.expect_started(2)
    run.end()


@pytest.mark.row("11", "SIGKILL to the task, no retry left")
@pytest.mark.modes(CODE, full=(PAGE, CHECKS))
def test_sigkill_without_retries(scenario):
    run = scenario("net").until_waiting()
    run.kill(signal.SIGKILL)
    run.expect_cancelled()
    run.until_state("failed")
    run.expect_started(1)
    run.end()


@pytest.mark.row("11", "SIGKILL to the task, no retry left, no net: idle")
@pytest.mark.modes(PAGE)
def test_sigkill_without_a_net_leaves_the_browser_to_its_idle_limit(scenario, kernel):
    run = scenario("plain").until_waiting()
    run.kill(signal.SIGKILL)
    run.until_state("failed")
    (browser,) = run.active
    # The connection went with the process, so that the browser sleeps, and costs nothing.
    kernel.wait_until(lambda: run.active[0].clients == 0, timeout=20)
    assert browser.options["timeout_seconds"] == 300
    kernel.time_scale = 1000.0
    try:
        kernel.wait_until(lambda: not run.active, timeout=20)
    finally:
        kernel.time_scale = 1.0
    assert run.browsers[0].end_cause == "idle"
    run.end()


@pytest.mark.row("12", "worker lost, no retry left")
@pytest.mark.modes(CODE, full=(PAGE, CHECKS))
def test_worker_lost_without_retries(scenario):
    run = scenario("net").until_waiting()
    run.kill(signal.SIGKILL, supervisor=True)
    run.expect_cancelled(within=120)
    run.until_state("failed")
    run.expect_started(1)
    run.end()


@pytest.mark.row("16", "DAG paused")
@pytest.mark.modes(CODE, full=(CHECKS,))
def test_dag_paused(scenario, stack):
    run = scenario("plain").until_waiting()
    run.act()
    stack.api.pause(run.dag_id)
    try:
        run.expect_going_on()
        run.expect_success()
    finally:
        stack.api.pause(run.dag_id, paused=False)
    run.expect_started(1)
    run.end()


@pytest.mark.row("18", "marked failed while queued")
@pytest.mark.modes(CODE)
def test_marked_failed_while_queued(scenario, frozen_workers):
    with frozen_workers:
        run = scenario("plain")
        run.until_state("queued", over=False)
        run.mark("failed")
    run.until_run_is_over()
    run.until_state("failed")
    run.expect_started(0)
    run.end()


@pytest.mark.row("19", "killed during the create, answered late")
@pytest.mark.modes(PAGE, full=(CHECKS, CODE))
def test_killed_during_the_create_that_is_answered(scenario, kernel):
    create = kernel.add_fault(Fault("POST", "/browsers", hold=True))
    run = scenario("plain")
    create.wait_until_held(timeout=90)
    run.mark("failed")
    run.until_noted("operator.on_kill")
    create.release()
    run.expect_cancelled()
    run.until_state("failed")
    run.expect_started(1)
    run.end()


@pytest.mark.row("19", "killed during the create, never answered")
@pytest.mark.modes(CODE, full=(PAGE, CHECKS))
def test_killed_during_the_create_that_is_never_answered(scenario, kernel):
    create = kernel.add_fault(Fault("POST", "/browsers", hold=True))
    run = scenario("plain")
    create.wait_until_held(timeout=90)
    run.mark("failed")
    run.expect_cancelled()
    run.until_state("failed")
    create.release()
    run.expect_started(1)
    run.end()


@pytest.mark.row("20", "succeeds", celery=True)
@pytest.mark.modes(PAGE, full=(CHECKS, CODE))
def test_success(scenario):
    run = scenario("plain")
    run.expect_success()
    run.expect_started(1)
    run.end()


@pytest.mark.row("20", "answer of the create lost")
@pytest.mark.modes(PAGE)
def test_lost_create_is_found(scenario, kernel):
    kernel.add_fault(Fault("POST", "/browsers", nth=1, drop="after"))
    run = scenario("plain")
    run.expect_success()
    run.expect_started(1)
    run.end()


@pytest.mark.row("21", "function raises, retries left")
@pytest.mark.modes(CHECKS)
def test_function_raises(scenario):
    run = scenario("retries").until_waiting()
    run.fail_at_the_gate()
    run.act()
    run.open_gate()
    run.expect_cancelled()
    run.until_noted("working", 3, timeout=120)
    run.until_state("failed")
    run.expect_started(3)
    run.end()


@pytest.mark.row("22", "marked failed while Kernel is down")
@pytest.mark.modes(PAGE, full=(CHECKS, CODE))
def test_marked_failed_while_kernel_is_down(scenario, kernel, outage):
    kind, _ = outage
    run = scenario("net").until_waiting()
    with kernel.outage(kind):
        run.mark("failed")
        run.until_noted("operator.on_kill")
        run.until_state("failed")
    run.expect_cancelled(within=60)  # by the net
    run.expect_started(1)
    run.end()


@pytest.mark.full
@pytest.mark.row("14c", "API server away for 45 s")
@pytest.mark.modes(CODE)
def test_api_server_away(scenario, api_server_away):
    run = scenario("patient").until_waiting()
    run.act()
    with api_server_away:
        run.expect_cancelled(within=90)
    run.expect_new_one()
    run.expect_started(2)
    run.end()


#: How many at once: two cores start no more tasks and Chromiums in good time.
_AT_ONCE = 5


@pytest.mark.again
@pytest.mark.row("1", "marked failed, again and again")
@pytest.mark.modes(PAGE)
@pytest.mark.parametrize("stays_open", [False, True], ids=["closes", "stays open"])
def test_marked_failed_again_and_again(scenario, kernel, request, stays_open, tell):
    kernel.switches.cdp_open_after_delete = stays_open
    count = request.config.getoption("--count")
    seconds = []
    try:
        for first in range(0, count, _AT_ONCE):
            runs = [scenario("plain") for _ in range(min(_AT_ONCE, count - first))]
            for run in runs:
                run.until_waiting(timeout=180)
            for run in runs:
                run.mark("failed")
            for run in runs:
                run.expect_cancelled()
                seconds.append(run.expect_unwound())
                run.until_state("failed")
                run.expect_started(1)
    finally:
        kernel.switches.cdp_open_after_delete = False
    tell(f"{len(seconds)} of {count} killed: deleted and unwound within {max(seconds):.2f} s of on_kill")


def test_no_chromium_is_left(matrix):
    """At the end of all rows, no browser runs whose session has ended."""
    chromiums = [p for p in psutil.Process().children(recursive=True) if "chrom" in p.name()]
    assert not chromiums or any(record.is_active for record in matrix.kernel.browsers), chromiums
