"""Many at once: 200 deferred tasks, a quarter of them killed together, the triggerer restarted in the middle."""

from __future__ import annotations

import pytest

from system.task_run import TASK_ID
from system.under_test.variants import DEFERRABLE

TASKS = 200
KILLED = range(0, TASKS, 4)


@pytest.mark.row("load", f"{TASKS} tasks, {len(KILLED)} of them marked failed, triggerer restarted")
@pytest.mark.modes(DEFERRABLE)
def test_load_of_kills_cancels_the_killed_and_finishes_the_others(scenario, stack):
    run = scenario("crowd")
    run.until_waiting(timeout=600)
    run.act_on(KILLED)
    triggerer = stack.programs["triggerer"]
    for number, map_index in enumerate(KILLED):
        if number == len(KILLED) // 2:
            triggerer.stop()
        stack.api.mark(run.dag_id, run.run_id, TASK_ID, "failed", map_index)
    triggerer.start()
    run.finish(item for item in range(TASKS) if item not in KILLED)
    # The last of them may be for the DAG's net, which comes when the run fails.
    run.expect_cancelled(within=600)
    run.until_run_is_over(timeout=600)
    assert run.states() == ["failed" if index in KILLED else "success" for index in range(TASKS)]
    run.expect_started(1)
    run.end()
