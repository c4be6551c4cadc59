"""The safety net callback ends the browsers that the tasks of a DAG run have left, and no other ones."""

import pytest
from support.dag_callbacks import XComs, answer_from, leave_seconds, new_dag, ownership

from airflow_provider_kernel.callbacks import cancel_kernel_invocations
from airflow_provider_kernel.decorators.kernel_browser import KernelBrowserDecoratedOperator
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.operators.browser import KernelBrowserTaskOperator
from airflow_provider_kernel.operators.playwright import KernelPlaywrightOperator
from airflow_provider_kernel.owned.browser_mark import run_tags

OPERATORS = {
    "operator": lambda: KernelBrowserTaskOperator(task_id="t", python_callable=lambda: 1),
    "decorator": lambda: KernelBrowserDecoratedOperator(task_id="t", python_callable=lambda: 1),
    "script": lambda: KernelPlaywrightOperator(task_id="t", code="return 1"),
}


@pytest.mark.parametrize("reason", ["task_failure", "success"])
@pytest.mark.parametrize("operator", OPERATORS)
def test_safety_net_ends_the_browser_that_a_task_has_left(
    operator, reason, kernel_emulator, kernel_connection, monkeypatch
):
    leave_seconds(monkeypatch, 30)
    with new_dag() as dag:
        OPERATORS[operator]()
    with KernelHook() as hook:
        left, of_others = (
            hook.browsers.create(tags=run_tags(dag.dag_id, run)).session_id for run in ("r", "other")
        )
    answer_from(monkeypatch, XComs({"t": [ownership(left)]}, kind="browser"))
    cancel_kernel_invocations({"dag": dag, "run_id": "r", "reason": reason})
    ends = {browser.session_id: browser.end_cause for browser in kernel_emulator.browsers}
    assert ends == {left: "deleted", of_others: None}
