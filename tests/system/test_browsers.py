"""
Tasks with a browser: rows 1 to 5, 8 to 12, 16 to 22b and 27; row 14c is in ``test_processes.py``.

``page``: the function is blocked in the page of a real Chromium. ``checks`` and ``code``: it waits without the
browser, and looks whether the task was killed, or never does.
"""

import signal
import time

import psutil
import pytest

from airflow_provider_kernel.testing import Fault
from airflow_stack.rest import timestamp, wait_until
from system.browser_scenario import BrowserRun
from system.task_run import received_at
from system.under_test.browser_variants import CHECKS, CODE, DAGRUN_TIMEOUT, EXECUTION_TIMEOUT, IDLE_TIMEOUT, PAGE

#: What the function sees of a kill. One that never looks sees nothing, and ends with its process.
SEES = {PAGE: "TargetClosedError", CHECKS: "KernelTaskKilledError"}
#: Most of what the process that is killed has.
FAILS_SECONDS = 2.5


@pytest.fixture
def scenario(start, mode, request):
    """Start a run of a variant, with the function of the test."""
    row = request.node.get_closest_marker("row")
    return lambda variant: start(variant, mode, *row.args, kind=BrowserRun)


@pytest.fixture(scope="module", autouse=True)
def no_chromium_is_left(matrix):
    yield
    of_chromium = lambda: [p for p in psutil.Process().children(recursive=True) if "chrom" in p.name()]  # noqa: E731
    wait_until(lambda: not of_chromium(), timeout=20, what=lambda: f"left: {of_chromium()}")


def expect_killed(run, state):
    """Expect that browser and function end, the task in a state."""
    run.expect_deleted()
    if run.mode in SEES:
        run.expect_stopped(error=SEES[run.mode])
    expect_the_end(run, state)


def expect_the_end(run, state, started=1):
    run.until_state(state)
    run.expect_started(started)
    run.end()


def expect_another(run):
    run.expect_new_one()
    run.expect_started(2)
    run.end()


#: What takes long after a SIGKILL: the variant, and whether the supervisor gets it as well.
EARLY = {
    "worker lost, no retry left": ("net", True),
    "worker lost, retries left": ("retries", True),
    "SIGKILL to the task, no retry left, no net: idle": ("idles", False),
}


@pytest.fixture(scope="module", autouse=True)
def killed_early(matrix, request):
    """Kill at the begin what Airflow or Kernel takes long to miss; the other rows are played meanwhile."""
    runs = {}
    for item in request.session.items:
        if "early" in item.fixturenames:
            row, title = item.get_closest_marker("row").args
            runs[item.nodeid] = BrowserRun(
                matrix, EARLY[title][0], item.callspec.params["mode"], row, title
            ).start()
    for run in runs.values():
        run.until_waiting()
        run.kill(signal.SIGKILL, supervisor=EARLY[run.title][1])
        run.open_gate()  # for the next try: it shall not wait until its browser is idle for too long
    yield runs
    for run in runs.values():
        run.sweep()


@pytest.fixture
def early(killed_early, mode, request):
    """The run of this test, killed a while ago."""
    return killed_early[request.node.nodeid]


@pytest.mark.row("1", "marked failed", celery=True)
@pytest.mark.modes(PAGE, full=(CHECKS, CODE))
def test_marked_failed(scenario):
    run = scenario("plain").until_waiting()
    run.mark("failed")
    expect_killed(run, "failed")


@pytest.mark.row("1", "marked failed, DevTools connection kept open")
@pytest.mark.modes(PAGE)
def test_marked_failed_while_kernel_keeps_the_connection_open(scenario, connection_kept_open):
    run = scenario("plain").until_waiting()
    run.mark("failed")
    expect_killed(run, "failed")


@pytest.mark.row("1", "DAG run marked failed")
@pytest.mark.modes(CHECKS, full=(PAGE, CODE))
def test_dag_run_marked_failed(scenario):
    run = scenario("plain").until_waiting()
    run.mark_run("failed")
    expect_killed(run, "failed")


@pytest.mark.row("1", "dagrun_timeout")
@pytest.mark.modes(CODE, full=(PAGE, CHECKS))
def test_dagrun_timeout(scenario):
    run = scenario("dagrun_timeout").until_waiting()
    run.act(at=run.started_at + DAGRUN_TIMEOUT)
    expect_killed(run, "skipped")


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
    run.expect_deleted()
    expect_another(run)


@pytest.mark.row("3", "cleared, retries left")
@pytest.mark.modes(CODE, full=(PAGE, CHECKS))
def test_cleared_with_retries_left(scenario):
    run = scenario("retries").until_waiting()
    run.clear()
    run.expect_deleted()
    expect_another(run)


@pytest.mark.row("3", "cleared after its success")
@pytest.mark.modes(CHECKS, full=(PAGE, CODE))
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
def test_task_instance_deleted(scenario, kernel):
    run = scenario("plain").until_waiting()
    run.delete_task_instance()
    run.expect_deleted()
    run.open_gate()
    # Airflow takes the end of the old process for that of the new task, if that is running by then, and kills it.
    run.until_run_is_over(timeout=120)
    kernel.wait_until(lambda: not run.active, timeout=60)
    run.check_one_at_a_time()
    run.end()


@pytest.mark.row("5", "execution_timeout")
@pytest.mark.modes(PAGE, full=(CHECKS, CODE))
def test_execution_timeout(scenario):
    run = scenario("timeout").until_waiting()
    run.act(at=run.until_noted("execute")["at"] + EXECUTION_TIMEOUT)
    run.expect_deleted()
    expect_the_end(run, "failed")


@pytest.mark.row("8", "SIGTERM to the task, retries left")
@pytest.mark.modes(PAGE, full=(CHECKS, CODE))
def test_sigterm_to_the_task(scenario):
    run = scenario("retries").until_waiting()
    run.kill(signal.SIGTERM)
    run.expect_deleted()
    if run.mode in SEES:
        run.expect_stopped(error=SEES[run.mode])
    else:
        run.open_gate()  # Airflow has not killed the task, so nothing but its own code ends it
    expect_another(run)


@pytest.mark.row("8", "SIGTERM to its supervisor")
@pytest.mark.modes(CHECKS, full=(PAGE, CODE))
def test_sigterm_to_the_supervisor(scenario):
    run = scenario("plain").until_waiting()
    run.kill(signal.SIGTERM, task=False, supervisor=True)
    if run.mode == CODE:
        run.expect_deleted()
        run.open_gate()  # as above
    expect_killed(run, "failed")


@pytest.mark.row("9", "SIGINT to the task")
@pytest.mark.modes(PAGE, full=(CHECKS, CODE))
def test_sigint(scenario):
    run = scenario("net").until_waiting()
    run.kill(signal.SIGINT)
    run.expect_deleted()
    expect_the_end(run, "failed")


@pytest.mark.row("10", "SIGKILL to the task, retries left", celery=True)
@pytest.mark.modes(PAGE, full=(CHECKS, CODE))
def test_sigkill_with_retries(scenario):
    run = scenario("retries").until_waiting()
    run.kill(signal.SIGKILL)
    run.expect_deleted(within=60)  # by the next try
    expect_another(run)


@pytest.mark.row("11", "SIGKILL to the task, no retry left")
@pytest.mark.modes(PAGE, full=(CHECKS, CODE))
def test_sigkill_without_retries(scenario):
    run = scenario("net").until_waiting()
    run.kill(signal.SIGKILL)
    run.expect_deleted()
    expect_the_end(run, "failed")


@pytest.mark.row("16", "DAG paused")
@pytest.mark.modes(CODE, full=(CHECKS, PAGE))
def test_dag_paused(scenario, stack):
    run = scenario("plain").until_waiting()
    run.act()
    stack.api.pause(run.dag_id)
    try:
        run.expect_going_on()
        if run.mode == PAGE:  # it was blocked before the act, and so is for ever
            run.mark_run("failed")
            expect_killed(run, "failed")
            return
        run.expect_success()
    finally:
        stack.api.pause(run.dag_id, paused=False)
    run.expect_started(1)
    run.end()


@pytest.mark.row("18", "marked failed while queued")
@pytest.mark.modes(CODE)
def test_marked_failed_while_queued(scenario, frozen_workers, start):
    with frozen_workers:
        run = scenario("plain")
        run.until_state("queued", over=False)
        run.mark("failed")
    run.until_run_is_over()
    start("plain", CODE, "", "", kind=BrowserRun).expect_success()  # whatever was queued before has been taken
    expect_the_end(run, "failed", started=0)


@pytest.mark.row("18", "marked failed while scheduled")
@pytest.mark.modes(CODE)
def test_marked_failed_while_scheduled(scenario):
    run = scenario("held_back")
    run.until_noted("at the gate")  # another task has the DAG's only slot
    run.until_state("scheduled", over=False)
    run.mark("failed")
    run.open_gate()
    run.until_run_is_over()
    expect_the_end(run, "failed", started=0)


@pytest.mark.row("19", "killed during the create, answered late")
@pytest.mark.modes(PAGE, full=(CHECKS, CODE))
def test_killed_during_the_create_that_is_answered(scenario, kernel):
    create = kernel.add_fault(Fault("POST", "/browsers", hold=True))
    run = scenario("plain")
    create.wait_until_held(timeout=90)
    run.mark("failed")
    run.until_noted("operator.on_kill")
    create.release()
    run.expect_deleted()
    expect_the_end(run, "failed")


@pytest.mark.row("19", "killed during the create, never answered")
@pytest.mark.modes(CODE, full=(PAGE, CHECKS))
def test_killed_during_the_create_that_is_never_answered(scenario, kernel):
    create = kernel.add_fault(Fault("POST", "/browsers", hold=True))
    run = scenario("plain")
    create.wait_until_held(timeout=90)
    run.mark("failed")
    run.expect_deleted()
    run.until_state("failed")
    create.release()
    expect_the_end(run, "failed")


@pytest.mark.row("20", "succeeds")
@pytest.mark.modes(PAGE, full=(CHECKS, CODE))
def test_success(scenario):
    run = scenario("plain")
    run.expect_success()
    run.expect_started(1)
    run.end()


@pytest.mark.row("20", "succeeds, answer of the create lost")
@pytest.mark.modes(CODE, full=(PAGE, CHECKS))
def test_lost_create_is_found(scenario, kernel):
    kernel.add_fault(Fault("POST", "/browsers", nth=1, drop="after"))
    run = scenario("plain")
    run.expect_success()
    run.expect_started(1)
    run.end()


@pytest.mark.row("21", "function raises, retries left")
@pytest.mark.modes(CHECKS, full=(CODE,))
def test_function_raises(scenario):
    run = scenario("one_retry").until_waiting()
    run.fail_at_the_gate()
    run.act()
    run.open_gate()
    run.expect_deleted()
    run.until_noted("working", 2, timeout=120)
    expect_the_end(run, "failed", started=2)


@pytest.mark.row("22", "marked failed, and Kernel hangs at the DELETE until the process is gone")
@pytest.mark.modes(PAGE, full=(CHECKS, CODE))
def test_kernel_hangs_at_the_kill(scenario, kernel):
    run = scenario("net").until_waiting()
    kernel.add_fault(Fault("DELETE", "/browsers/*", nth=None, delay=60, drop="before"))
    run.mark("failed")
    run.until_noted("operator.on_kill")
    run.until_processes_are_gone()
    assert run.active
    kernel.clear_faults()
    run.down_until = time.time()
    run.expect_deleted(within=60)  # by the net
    if run.mode in SEES:
        run.expect_stopped(within=4.5, error=SEES[run.mode], with_browser=False)
    expect_the_end(run, "failed")


@pytest.mark.row("22b", "marked failed, and Kernel answers 500 from the kill on")
@pytest.mark.modes(PAGE, full=(CHECKS, CODE))
def test_kernel_fails_from_the_kill_on(scenario, kernel):
    run = scenario("plain").until_waiting()
    kernel.add_fault(Fault("DELETE", "/browsers/*", seconds=FAILS_SECONDS, status=500))
    run.mark("failed")
    run.expect_deleted()
    run.down_until = received_at(kernel.requests("DELETE", f"/browsers/{run.browsers[0].session_id}")[0])
    run.down_until += FAILS_SECONDS
    if run.mode in SEES:
        run.expect_stopped(within=4.5, error=SEES[run.mode])
    expect_the_end(run, "failed")


@pytest.mark.row("27", "SIGKILL to the task, no retry left, no net: the sweep")
@pytest.mark.modes(CODE, full=(PAGE,))
def test_sweep_ends_what_is_left(scenario, stack):
    stack.wait_for_dags({"sweep"})
    run = scenario("plain").until_waiting()
    run.kill(signal.SIGKILL)
    run.until_run_is_over()
    run.expect_going_on()
    run.act()
    stack.api.start_run("sweep")
    run.expect_deleted()
    expect_the_end(run, "failed")


@pytest.mark.row("11", "SIGKILL to the task, no retry left, no net: idle")
@pytest.mark.modes(PAGE, full=(CHECKS, CODE))
def test_sigkill_without_a_net_leaves_the_browser_to_its_idle_limit(early, kernel):
    kernel.wait_until(lambda: not early.active, timeout=60)
    (browser,) = early.browsers
    assert browser.end_cause == "idle"
    # The connection went with the process: it has slept since then, and so cost nothing.
    lived = timestamp(browser.ended_at) - timestamp(browser.created_at)
    assert browser.uptime_ms / 1000 < lived - 0.9 * IDLE_TIMEOUT
    expect_the_end(early, "failed")


@pytest.mark.row("12", "worker lost, no retry left")
@pytest.mark.modes(CODE, full=(PAGE,))
def test_worker_lost_without_retries(early):
    early.expect_deleted(within=120)
    expect_the_end(early, "failed")


@pytest.mark.row("12", "worker lost, retries left")
@pytest.mark.modes(CODE, full=(PAGE,))
def test_worker_lost_with_retries(early):
    early.expect_deleted(within=120)  # by the next try
    early.expect_success()
    early.expect_started(2)
    early.end()


@pytest.fixture
def connection_kept_open(kernel):
    """Kernel keeps DevTools connections open when it ends browsers."""
    kernel.switches.cdp_open_after_delete = True
    yield
    kernel.switches.cdp_open_after_delete = False


#: How many at once: two cores start no more tasks and Chromiums in good time.
_AT_ONCE = 5


@pytest.mark.again
@pytest.mark.row("1", "marked failed, again and again")
@pytest.mark.modes(PAGE)
@pytest.mark.parametrize("far_side", ["closes", "stays open"])
def test_marked_failed_again_and_again(scenario, kernel, request, far_side, tell):
    if far_side == "stays open":
        request.getfixturevalue("connection_kept_open")
    count = request.config.getoption("--count")
    seconds = []
    for first in range(0, count, _AT_ONCE):
        runs = [scenario("plain") for _ in range(min(_AT_ONCE, count - first))]
        for run in runs:
            run.until_waiting(timeout=180)
        for run in runs:
            run.mark("failed")
        for run in runs:
            run.expect_deleted()
            seconds.append(run.expect_stopped(error=SEES[PAGE]))
            run.until_state("failed")
            run.expect_started(1)
            assert not run.active
    seconds.sort()
    tell(
        f"{len(seconds)} of {count} marked failed in page.wait_for_timeout(600000), connection {far_side}: browser "
        f"deleted and function stopped {seconds[len(seconds) // 2]:.2f} s (median) and {seconds[-1]:.2f} s (worst) "
        "after on_kill"
    )
