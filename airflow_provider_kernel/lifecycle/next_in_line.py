"""
Who ends an object when an end has failed, for log lines: noun phrases, the nearest one first.

A process cannot know whether the DAG has a safety net, or whether a sweep runs.
"""

from __future__ import annotations

KERNEL = "Kernel's own time limit"
_NET = f"the DAG's safety net, the sweep, and {KERNEL}"

AFTER_WORKER = f"the next try of the task, {_NET}"
AFTER_RESPONDER = f"the DAG's fail_kernel_invocation(), and {KERNEL}"
AFTER_KILLED_TRIGGER = f"the next try after a clear, {_NET}"
AFTER_OVERDUE_TRIGGER = f"the worker that resumes the task, {_NET}"
AFTER_TASK_SAFETY_NET = _NET
AFTER_SAFETY_NET = f"the sweep, if a DAG runs it; else {KERNEL}"
AFTER_SWEEP = f"the next run of this DAG; else {KERNEL}"


def after_kill(next_in_line: str) -> str:
    """Name who is next after an urgent end: Airflow may not kill the process after all."""
    return f"this process, if it lives on; then {next_in_line}"
