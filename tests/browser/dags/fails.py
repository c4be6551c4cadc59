"""A task whose invocation fails."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_kernel.operators.invocation import KernelInvokeOperator

with DAG("fails", schedule=None):
    KernelInvokeOperator(
        task_id="browse", app_name="demo", action_name="fail", payload={"message": "The shop is closed"}
    )
