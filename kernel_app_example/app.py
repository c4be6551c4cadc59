"""
A Kernel app with an action that Airflow answers: `kernel deploy app.py`, with AIRFLOW_URL and AIRFLOW_TOKEN set.

The action triggers a DAG through Airflow's REST API, passes it the invocation's id, and keeps running: if it
returned first, its return value would become the output. The DAG ends the invocation, and Kernel then stops this
code. If the DAG cannot be triggered, the action fails, and so does the invocation. Invoke it with an
`async_timeout_seconds` that is long enough for the DAG; Kernel allows an hour.

`AIRFLOW_TOKEN` is a token for Airflow's REST API (from POST /auth/token, or from your auth manager).
"""

import asyncio
import os

import httpx
import kernel

app = kernel.App("orders")


@app.action("count")
async def count(ctx: kernel.KernelContext, payload: dict | None = None) -> None:
    await trigger_dag(ctx.invocation_id, payload or {})
    await asyncio.Event().wait()  # until the DAG ends the invocation


async def trigger_dag(invocation_id: str, payload: dict) -> None:
    dag_id = os.environ.get("AIRFLOW_DAG", "example_kernel_answer")
    async with httpx.AsyncClient(timeout=30) as client:
        response = await client.post(
            f"{os.environ['AIRFLOW_URL']}/api/v2/dags/{dag_id}/dagRuns",
            headers={"Authorization": f"Bearer {os.environ['AIRFLOW_TOKEN']}"},
            json={
                # One DAG run per invocation, even if the request is sent again.
                "dag_run_id": f"kernel__{invocation_id}",
                "logical_date": None,
                "conf": {**payload, "kernel_invocation_id": invocation_id},
            },
        )
        if response.status_code != 409:  # 409: an earlier request, whose answer was lost, has started it
            response.raise_for_status()
