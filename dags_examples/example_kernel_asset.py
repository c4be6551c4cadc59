"""
### Run when an invocation finishes, no matter who started it

The asset's watcher emits an event for each invocation of the app's action `echo` that succeeds, and the DAG is
scheduled on the asset. The event holds id, status and timing; the task that needs the output fetches it.
"""

import os

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.triggers.finished import KernelInvocationFinishedTrigger

APP = os.environ.get("KERNEL_EXAMPLE_APP", "demo")

trigger = KernelInvocationFinishedTrigger(app_name=APP, action_name="echo", status="succeeded")
finished = Asset("kernel_echo", watchers=[AssetWatcher(name="finished", trigger=trigger)])

with DAG("example_kernel_asset", schedule=[finished], tags=["example", "kernel"], doc_md=__doc__):

    @task
    def finished_ids(triggering_asset_events):
        return [
            event.extra["payload"]["invocation_id"]
            for events in triggering_asset_events.values()
            for event in events
        ]

    @task
    def outputs(invocation_ids):
        with KernelHook() as hook:
            return [hook.get_invocation(invocation_id).parsed_output() for invocation_id in invocation_ids]

    outputs(finished_ids())
