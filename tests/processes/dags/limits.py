"""Tasks that a DAG run's timeout stops, one for each mode on a worker."""

import time

from airflow.sdk import DAG, task

from airflow_provider_kernel.operators.end_invocation import KernelCompleteInvocationOperator
from airflow_provider_kernel.operators.invocation import KernelInvokeOperator
from airflow_provider_kernel.sensors.invocation import KernelInvocationSensor

INVOCATION_ID = "{{ dag_run.conf['kernel_invocation_id'] }}"

with DAG("limits", schedule=None):
    KernelInvokeOperator(task_id="invoke_blocking", app_name="demo", action_name="hang", retries=1)
    for mode in ("poke", "reschedule"):
        KernelInvocationSensor(task_id=f"sensor_{mode}", invocation_id=INVOCATION_ID, mode=mode)
    KernelCompleteInvocationOperator(task_id="request", invocation_id=INVOCATION_ID)

    @task.kernel_invocation
    def answer(kernel_invocation):
        """Never return."""
        kernel_invocation.check()
        while True:
            time.sleep(60)

    @task.kernel_browser
    def browser(browser):
        """Never return."""
        while True:
            browser.check_active()
            time.sleep(0.1)

    answer()
    browser()
