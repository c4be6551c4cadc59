"""Two tasks that wait until somebody ends them: one in a process of its own, one in the triggerer."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_kernel.operators.invocation import KernelInvokeOperator

for name, deferrable in (("wait_on_a_worker", False), ("wait_in_the_triggerer", True)):
    with DAG(name, schedule=None):
        KernelInvokeOperator(
            task_id="browse",
            app_name="demo",
            action_name="browsers",
            payload={"count": 1, "seconds": 600},
            deferrable=deferrable,
            poll_interval=1,
        )
