"""DAGs that answer an invocation that waits, and one that runs when invocations have finished."""

import time
from datetime import timedelta

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_kernel.callbacks import fail_kernel_invocation
from airflow_provider_kernel.notifications.kernel import KernelInvocationNotifier
from airflow_provider_kernel.triggers.finished import KernelInvocationFinishedTrigger
from under_test.notices import note


def work(kernel_invocation, dag_run, ti):
    """Do what the caller asks for."""
    note("answering", ti)
    mode = dag_run.conf["mode"]
    if mode == "raise" or (mode == "retry" and ti.try_number == 1):
        raise ValueError("sold out")
    if mode == "wait" and ti.try_number == 1:
        time.sleep(600)
    return {"orders": 42, "try": ti.try_number}


with DAG("answers", schedule=None, on_failure_callback=fail_kernel_invocation()):
    task.kernel_invocation(task_id="answer", execution_timeout=timedelta(seconds=25))(work)()

with DAG("answers_with_retries", schedule=None, on_failure_callback=fail_kernel_invocation()):
    task.kernel_invocation(task_id="answer", retries=1, retry_delay=timedelta(seconds=1))(work)()

end = KernelInvocationNotifier(output_from="visit")
with DAG("notified", schedule=None, on_failure_callback=end, on_success_callback=end):

    @task(retries=1, retry_delay=timedelta(seconds=1))
    def visit(page, dag_run, ti):
        mode = dag_run.conf["mode"]
        if (mode == "raise" and page == 2) or (mode == "retry" and ti.try_number == 1):
            raise ValueError("sold out")
        return page * 10

    visit.expand(page=[1, 2, 3])

trigger = KernelInvocationFinishedTrigger(app_name="shop", poll_interval=3)
shop = Asset("shop_finished", watchers=[AssetWatcher(name="finished", trigger=trigger)])
with DAG("watched", schedule=[shop]):

    @task
    def count(triggering_asset_events):
        return sum(len(events) for events in triggering_asset_events.values())

    count()
