"""Who is next in line when the process that owned an invocation is gone: rows 22b to 27."""

import signal

import pytest

from airflow_provider_kernel.testing import Fault
from airflow_stack.rest import wait_until
from system.scenario import BLOCKING, DEFERRABLE
from system.task_run import TASK_ID, received_at
from system.under_test.variants import EXECUTION_TIMEOUT

#: As long as most of what the process that is killed has, on a worker and in the triggerer.
FAILS_SECONDS = {BLOCKING: 2.5, DEFERRABLE: 15}


@pytest.mark.row("22b", "marked failed, and Kernel fails from the kill on", celery=True)
@pytest.mark.modes(BLOCKING, DEFERRABLE)
def test_kernel_fails_from_the_kill_on(scenario, kernel, mode):
    run = scenario("plain").until_waiting()
    (invocation,) = run.invocations
    kernel.add_fault(Fault("PATCH", f"/invocations/{invocation.id}", seconds=FAILS_SECONDS[mode], status=500))
    run.mark("failed")
    run.expect_cancelled(within=60)
    run.down_until = received_at(kernel.requests("PATCH", f"/invocations/{invocation.id}")[0]) + FAILS_SECONDS[mode]
    run.until_state("failed")
    run.expect_started(1)
    run.end()


@pytest.mark.row("24", "SIGKILL to the task, and to its last try before that hears from Kernel", celery=True)
@pytest.mark.modes(BLOCKING)
def test_sigkill_twice(scenario, kernel):
    run = scenario("net_retry").until_waiting()
    run.kill(signal.SIGKILL)
    answer = kernel.add_fault(Fault("GET", "/invocations/*", hold=True))
    answer.wait_until_held(timeout=90)
    run.expect_going_on()
    run.kill(signal.SIGKILL)
    answer.release()
    run.expect_cancelled()
    run.until_state("failed")
    run.expect_started(1)
    run.end()


@pytest.mark.row("24b", "SIGKILL to the task, and its last try gets errors from Kernel", celery=True)
@pytest.mark.modes(BLOCKING)
def test_last_try_goes_on_after_an_outage(scenario, kernel):
    run = scenario("one_retry").until_waiting()
    run.kill(signal.SIGKILL)
    kernel.add_fault(Fault("GET", "/invocations/*", seconds=30, status=500))
    run.until_noted("execute", 2)
    run.until_looked_at()
    run.expect_going_on()
    run.expect_success()
    run.expect_started(1)
    run.end()


@pytest.mark.row("25", "marked while a retry waits after a SIGKILL", celery=True)
def test_marked_during_the_retry_delay(start, stack):
    stack.wait_for_dags({"sweep"})
    # Of a DAG run that is marked, a task that waits for its retry is skipped.
    ends = {
        ("task", "failed"): "failed",
        ("task", "success"): "success",
        ("DAG run", "failed"): "skipped",
        ("DAG run", "success"): "skipped",
    }
    runs = {
        (what, state): start(
            "late_retry", BLOCKING, "25", f"{what} marked {state} while a retry waits after a SIGKILL"
        )
        for what, state in ends
    }
    for run in runs.values():
        run.until_waiting()
        run.kill(signal.SIGKILL)
    for run in runs.values():
        run.until_state("up_for_retry", over=False)
        run.expect_going_on()
    for (what, state), run in runs.items():
        (run.mark if what == "task" else run.mark_run)(state)
    for (what, _), run in runs.items():
        if what == "task":
            run.expect_cancelled()
    stack.api.start_run("sweep")  # a DAG run that is marked calls no callback
    for mark, run in runs.items():
        if mark[0] == "DAG run":
            run.expect_cancelled()
        run.until_state(ends[mark])
        run.expect_started(1)
        run.end()


@pytest.mark.row("26", "deadline while no worker is free")
@pytest.mark.modes(DEFERRABLE)
def test_deadline_without_a_free_worker(scenario, frozen_workers):
    run = scenario("timeout").until_waiting()
    with frozen_workers:
        run.act(at=run.until_noted("execute")["at"] + EXECUTION_TIMEOUT)
        run.expect_cancelled()
    run.until_state("failed")
    run.expect_started(1)
    run.end()


@pytest.mark.row("26", "deadline while no worker is free, then marked success")
@pytest.mark.modes(DEFERRABLE)
def test_deadline_without_a_free_worker_then_marked(scenario, frozen_workers, stack):
    run = scenario("timeout").until_waiting()
    with frozen_workers:
        run.act(at=run.until_noted("execute")["at"] + EXECUTION_TIMEOUT)
        wait_until(lambda: run.states() in (["scheduled"], ["queued"]), timeout=60, what=lambda: f"{run.states()}")
        stack.api.mark(run.dag_id, run.run_id, TASK_ID, "success")
    run.expect_cancelled()
    run.until_state("success")
    run.expect_started(1)
    run.end()


@pytest.mark.row("27", "swept")
def test_sweep_ends_what_is_left(start, stack):
    stack.wait_for_dags({"sweep"})
    runs = [
        start(variant, BLOCKING, "27", f"SIGKILL to the task, no retry left, no net, {what}")
        for variant, what in (("marked", "marked payload"), ("plain", "no mark"))
    ]
    for run in runs:
        run.until_waiting()
        run.kill(signal.SIGKILL)
    for run in runs:
        run.until_run_is_over()
        run.expect_going_on()
        run.act()
    stack.api.start_run("sweep")
    for run in runs:
        run.expect_cancelled()
        run.until_state("failed")
        run.expect_started(1)
        run.end()
