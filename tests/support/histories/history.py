"""One history of a task, or of mapped siblings, from its first try to the safety net and the sweep."""

from __future__ import annotations

import itertools
from datetime import datetime, timezone

from airflow.sdk import DAG
from support.execution_api import task_instance
from support.histories.airflow import API, Operator, comms_with
from support.histories.clock import CLOCK
from support.histories.kernel import NETWORK
from support.histories.plans import QUIET, RETRIES
from support.histories.process import Process
from support.histories.task import Task
from support.in_process import run_task

from airflow_provider_kernel.callbacks import kernel_safety_net
from airflow_provider_kernel.operators.orphans import KernelCancelOrphansOperator

#: How often the maintenance DAG runs.
SWEEP_SECONDS = 60.0
START_DATE = datetime(2026, 1, 1, tzinfo=timezone.utc)


class History:
    """
    One history.

    :param siblings: how many mapped instances the task has; one is not mapped.
    :param marked: whether payloads carry the mark of their task.
    :param counts_clears: whether Airflow says how often the tasks of the run were cleared.
    """

    count = itertools.count()

    def __init__(self, kernel, *, siblings=1, deferrable=False, marked=False, durable=True, counts_clears=True):
        self.kernel = kernel
        self.deferrable = deferrable
        self.durable = durable
        self.counts_clears = counts_clears
        self.correlation_key = "_airflow" if marked or siblings > 1 else None
        self.action = f"a{next(self.count)}"
        self.violations: list[str] = []
        kernel.reset()
        kernel.register("demo", self.action, lambda ctx: ctx.wait())
        NETWORK.reset()
        NETWORK.on_cancel = self.judge
        self.tasks = [Task(self, -1 if siblings == 1 else index) for index in range(siblings)]
        for task in self.tasks:
            task.api.siblings = [task.api for task in self.tasks]

    def operator(self):
        """Make the operator, as each process does."""
        with DAG("d", schedule=None, start_date=START_DATE):
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
        try:
            self._live(tries)
        finally:
            for task in self.tasks:
                for process, _ in task.suspended:
                    process.bury()

    def _live(self, tries):
        for who, plan in tries:
            self.tasks[who % len(self.tasks)].live(plan)
            self.check()
        if not all(task.is_over for task in self.tasks):
            NETWORK.wait_until_up()
        for task in self.tasks:
            # A last try, in which nothing happens, ends what is not over.
            while not task.is_over:
                task.live(QUIET)
                self.check()
        for task in self.tasks:
            task.bring_back("after the next try")
        self.cast_the_nets()
        self.check()
        for task in self.tasks:
            task.in_the_end()

    def check(self):
        assert not self.violations, self.violations[0]
        for task in self.tasks:
            task.at_most_one()

    def judge(self, process, invocation_id):
        """Decide about a request that cancels, when it is sent."""
        for task in self.tasks:
            if invocation_id in {record.id for record in task.records}:
                wrong = task.judge(process, invocation_id)
                if wrong:
                    self.violations.append(wrong)

    # --- when the DAG run is over

    def cast_the_nets(self):
        """Do what a DAG run does when it is over, and what the maintenance DAG does each minute."""
        succeeded = all(task.succeeded for task in self.tasks)
        net = Process()
        net.comms = comms_with(self.tasks[0].api)
        net.run(lambda: self._net(succeeded=succeeded))
        if net.error is not None:
            raise net.error
        while any(task.active for task in self.tasks):
            was_down = NETWORK.was_down_since(CLOCK.shared())
            self._sweep("success" if succeeded else "failed", must_succeed=not was_down)
            if not was_down:
                return
            CLOCK.sleep(SWEEP_SECONDS)

    def _net(self, *, succeeded):
        dag = self.operator().dag
        callbacks = kernel_safety_net()
        context = {"dag": dag, "run_id": "r", "reason": "success" if succeeded else "task_failure"}
        for callback in callbacks["on_success_callback" if succeeded else "on_failure_callback"]:
            callback(context)

    def _sweep(self, state, *, must_succeed):
        api = API(dag_run_states={"r": state})
        api.siblings, api.published = [task.api for task in self.tasks], set()
        with DAG("maintenance", schedule=None, start_date=START_DATE):
            sweep = KernelCancelOrphansOperator(task_id="sweep", app_name="demo", dag_ids=["d"], dry_run_only=False)
        process = Process()
        process.run(lambda: run_task(ti=task_instance("sweep", "maintenance"), task=sweep, client=api.client()))
        if must_succeed:
            assert process.result.state == "success", process.result.error
