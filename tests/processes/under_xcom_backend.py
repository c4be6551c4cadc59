"""Run tasks under a custom XCom backend, in a process of its own: Airflow chooses it when it is imported."""

from __future__ import annotations

import json
import os
import shutil
import sys
from datetime import datetime, timezone
from types import SimpleNamespace

from airflow.sdk import DAG, BaseOperator
from airflow.sdk.execution_time import task_runner
from support.dag_callbacks import XComs
from support.execution_api import ExecutionAPI, task_instance
from support.file_xcom import FileXCom
from support.in_process import run_task

from airflow_provider_kernel.callbacks import cancel_kernel_invocations
from airflow_provider_kernel.operators import invocation as operators
from airflow_provider_kernel.operators.orphans import KernelCancelOrphansOperator
from airflow_provider_kernel.testing import KernelEmulator

HANG = {"app_name": "demo", "action_name": "hang", "poll_interval": 0.01, "stream_logs": False}


class Pull(BaseOperator):
    """Reads what the task ``t`` left for users."""

    def execute(self, context):
        pulled = {key: context["ti"].xcom_pull(task_ids="t", key=key) for key in ("invocation_id", "return_value")}
        print(json.dumps(pulled))
        return pulled


def run(task_id, operator_class, api, **arguments):
    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:
        task = operator_class(task_id=task_id, **arguments)
    return run_task(ti=task_instance(task_id), task=task, client=api.client()), dag


def good_run():
    api = ExecutionAPI()
    run("t", operators.KernelInvokeOperator, api, app_name="demo", action_name="echo", payload={"a": 1})
    reader = ExecutionAPI(other_xcoms={("d", "r", "t", -1): api.xcoms})
    run("reader", Pull, reader)
    pulled = FileXCom.deserialize_value(SimpleNamespace(value=reader.xcoms["return_value"]))
    return {"stored": api.xcoms, "pulled": pulled}


def deferred():
    api = ExecutionAPI()
    result, dag = run("t", operators.KernelInvokeOperator, api, deferrable=True, **HANG)
    assert result.state == "deferred", result
    return api, dag


def safety_net(api, dag):
    task_runner.SUPERVISOR_COMMS = XComs({"t": [api.xcoms["kernel_invocation_owner"]]})
    cancel_kernel_invocations({"dag": dag, "run_id": "r", "reason": "task_failure"})


def sweep(api, dag):
    sweeper = ExecutionAPI(
        other_task_states={"d": {"r": {"t": "failed"}}},
        other_xcoms={("d", "r", "t", -1): api.xcoms},
        dag_run_states={"r": "failed"},
    )
    arguments = {"app_name": "demo", "dag_ids": ["d"], "dry_run_only": False, "do_xcom_push": False}
    run("sweep", KernelCancelOrphansOperator, sweeper, **arguments)


def ended_deferral(api, dag):
    api.next_method, api.next_kwargs = "__fail__", {"error": "Trigger timeout"}
    run("t", operators.KernelInvokeOperator, api, deferrable=True, **HANG)


def main() -> None:
    operators.FIRST_POLL_SECONDS = 0.0
    with KernelEmulator() as kernel:
        connection = json.loads(kernel.airflow_connection)
        connection["extra"] = {**connection.get("extra", {}), "dashboard_url": "https://d.example/{invocation_id}"}
        os.environ["AIRFLOW_CONN_KERNEL_DEFAULT"] = json.dumps(connection)
        told = good_run()
        acts = (safety_net, sweep, ended_deferral)
        waiting = [deferred() for _ in acts]
        told["stored while it waits"] = waiting[0][0].xcoms
        shutil.rmtree(os.environ["FILE_XCOM"])  # the backend is not reachable any more
        for act, (api, dag) in zip(acts, waiting, strict=True):
            act(api, dag)
        told["ids"] = [invocation.id for invocation in kernel.invocations]
        statuses = [invocation.status for invocation in kernel.invocations[1:]]
        told["ends"] = {act.__name__: status for act, status in zip(acts, statuses, strict=True)}
    with open(sys.argv[1], "w") as file:
        json.dump(told, file)


if __name__ == "__main__":
    main()
