"""One history of a task, or of mapped siblings, from its first try to the safety net and the sweep."""

from __future__ import annotations

import itertools
from datetime import datetime, timezone

import pytest
from airflow.sdk import DAG
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import XComSequenceSliceResult
from support.execution_api import ExecutionAPI, task_instance
from support.histories.plans import RETRIES, Try
from support.histories.process import Operator
from support.histories.task import Task
from support.in_process import run_task

from airflow_provider_kernel.callbacks import cancel_kernel_invocations
from airflow_provider_kernel.operators.orphans import KernelCancelOrphansOperator


class History:
    """One history."""

    count = itertools.count()

    def __init__(self, kernel, *, siblings=1, deferrable=False, marked=False, durable=True):
        self.kernel = kernel
        self.deferrable = deferrable
        self.durable = durable
        self.correlation_key = "_airflow" if marked or siblings > 1 else None
        self.action = f"a{next(self.count)}"
        kernel.reset()
        kernel.register("demo", self.action, lambda ctx: ctx.wait())
        self.tasks = [Task(self, -1 if siblings == 1 else index) for index in range(siblings)]
        for task in self.tasks:
            task.api.siblings = [task.api for task in self.tasks]

    def operator(self):
        """Make the operator, as each process does."""
        with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):
            return Operator(
                task_id="t",
                retries=RETRIES,
                app_name="demo",
                action_name=self.action,
                payload={"tickets": 2},
                poll_interval=0.001,
                stream_logs=False,
                deferrable=self.deferrable,
                durable=self.durable,
                correlation_key=self.correlation_key,
            )

    def live(self, tries):
        for who, plan in tries:
            self.tasks[who % len(self.tasks)].live(plan)
            for task in self.tasks:
                task.at_most_one()
        for task in self.tasks:
            # A last try, in which nothing happens, ends what is not over.
            while not task.is_over:
                task.live(Try("ok", ("succeed", ""), early=True, then=None, cleared=False))
        self.cast_the_nets()
        for task in self.tasks:
            task.in_the_end()

    def cast_the_nets(self):
        """Do what a DAG run does that has failed, and what the maintenance DAG does."""
        if all(task.succeeded for task in self.tasks):
            return
        xcoms = [task.api.xcoms for task in self.tasks]

        class Comms:
            def send(self, msg):
                return XComSequenceSliceResult(root=[each[msg.key] for each in xcoms if msg.key in each])

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(task_runner, "SUPERVISOR_COMMS", Comms(), raising=False)
            cancel_kernel_invocations({"dag": self.operator().dag, "run_id": "r"})
        if self.correlation_key and any(task.active for task in self.tasks):
            api = ExecutionAPI(dag_run_states={"r": "failed"})
            with DAG("maintenance", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):
                net = KernelCancelOrphansOperator(task_id="net", app_name="demo", dry_run_only=False)
            result = run_task(ti=task_instance("net", "maintenance"), task=net, client=api.client())
            assert result.state == "success"
