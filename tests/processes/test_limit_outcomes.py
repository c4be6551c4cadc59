"""
A DAG run's timeout does what the docs say to a task on a worker, in each mode.

The scheduler sets the task to skipped, and the next heartbeat of its worker is told so. ``tests/system`` has the
same with a scheduler.
"""

import inspect
import sys
from pathlib import Path

import pytest
from airflow.sdk.execution_time.supervisor import ActivitySubprocess
from support.task_process import run_task

from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.testing import Fault

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "_ext"))
from limit_outcomes import OUTCOMES, Outcome

ONE = "/invocations/*"
#: What the supervisor grants a task after its SIGTERM; 5 s otherwise, which those that own nothing use up.
GRACE_SECONDS = 0.5
ENDED = {Outcome.KILLED: True, Outcome.KILLED_ALONE: False, Outcome.KILLED_ANSWER: True}
ENDED[Outcome.KILLED_BROWSER] = True


@pytest.fixture(autouse=True)
def short_grace(monkeypatch):
    kill = ActivitySubprocess.kill
    defaults = [p.default for p in inspect.signature(kill).parameters.values() if p.default is not p.empty]
    monkeypatch.setattr(kill, "__defaults__", tuple(GRACE_SECONDS if d == 5.0 else d for d in defaults))


@pytest.mark.parametrize(
    ("column", "outcome"),
    [cell for cell in OUTCOMES["dagrun_timeout"].items() if not cell[0].endswith("deferrable")],
)
def test_dagrun_timeout_does_what_the_docs_say(column, outcome, execution_api, kernel_emulator, kernel_connection):
    if column not in ("invoke_blocking", "browser"):
        with KernelHook() as hook:
            execution_api.conf = {"kernel_invocation_id": hook.invoke("demo", "hang").id}
    if column in ("sensor_reschedule", "request"):
        kernel_emulator.add_fault(Fault("GET", ONE, hold=True))

    def act(task):
        kernel_emulator.wait_for("GET", "/browsers/*" if column == "browser" else ONE, timeout=30)
        execution_api.task_state = "skipped"
        execution_api.stopped = True

    run_task(execution_api, column, dag_id="limits", file="limits.py", act=act)
    assert execution_api.states == []  # it stays skipped
    if column == "browser":
        (browser,) = kernel_emulator.browsers
        assert (browser.end_cause == "deleted") is ENDED[outcome]
        return
    (invocation,) = kernel_emulator.invocations
    assert invocation.finished is ENDED[outcome]
