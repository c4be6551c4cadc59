"""DAGs that answer an invocation that waits, and one that runs when invocations have finished."""

import time
from datetime import timedelta

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_kernel.callbacks import fail_kernel_invocation
from airflow_provider_kernel.notifications.kernel import KernelInvocationNotifier
from airflow_provider_kernel.triggers.finished import KernelInvocationFinishedTrigger
from under_test.notices import note

_RETRY = {"retries": 1, "retry_delay": timedelta(seconds=1)}
#: Long enough for a task to begin on a busy machine.
_IN_TIME = timedelta(seconds=20)


def work(kernel_invocation, dag_run, ti):
    """Do what the caller asks for."""
    note("answering", ti)
    mode = dag_run.conf["mode"]
    if mode == "raise" or (mode == "retry" and ti.try_number == 1):
        raise ValueError("sold out")
    if mode == "wait" and ti.try_number == 1:
        time.sleep(600)
    return {"orders": 42, "try": ti.try_number}


def answers(dag_id, task_arguments, **dag_arguments):
    """Answer with what a function returns."""
    with DAG(dag_id, schedule=None, on_failure_callback=fail_kernel_invocation(), **dag_arguments):
        task.kernel_invocation(task_id="answer", **task_arguments)(work)()


def notifies(dag_id, output_from, **dag_arguments):
    """Do the work in mapped tasks that know nothing of Kernel, and leave the answer to the notifier."""
    end = KernelInvocationNotifier(output_from=output_from)
    with DAG(dag_id, schedule=None, on_failure_callback=end, on_success_callback=end, **dag_arguments):

        @task(**_RETRY)
        def visit(page, dag_run, ti):
            note("visiting", ti)
            mode = dag_run.conf["mode"]
            if (mode == "raise" and page > 1) or (mode == "retry" and ti.try_number == 1):
                raise ValueError("sold out")
            if mode == "wait":
                time.sleep(600)
            return page * 10

        @task
        def total(prices):
            return sum(prices)

        total(visit.expand(page=[1, 2, 3]))


answers("answers", {})
answers("answers_with_retries", _RETRY)
answers("answers_in_time", {"execution_timeout": _IN_TIME})
answers("run_answers_in_time", {}, dagrun_timeout=_IN_TIME)

notifies("notifies", "visit")
notifies("notifies_total", "total")
notifies("run_notifies_in_time", "visit", dagrun_timeout=_IN_TIME)

trigger = KernelInvocationFinishedTrigger(app_name="shop", action_name="buy", poll_interval=3)
shop = Asset("shop_finished", watchers=[AssetWatcher(name="finished", trigger=trigger)])
with DAG("watches", schedule=[shop]):

    @task
    def count(triggering_asset_events):
        return sum(len(events) for events in triggering_asset_events.values())

    count()
