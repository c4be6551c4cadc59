"""A DAG for each kind of task with a browser, and for each kind of code in it."""

from airflow.sdk import DAG

from airflow_provider_kernel.callbacks import kernel_safety_net
from under_test.browser_variants import BROWSER_VARIANTS, browser_dag_id
from under_test.browsers import BODIES, BrowserOperator
from under_test.ours import note_net


def make_dag(variant, body, task_arguments, dag_arguments):
    dag_arguments = dict(dag_arguments)
    if dag_arguments.pop("net", False):
        dag_arguments |= kernel_safety_net(on_failure=note_net, on_success=note_net)
    with DAG(browser_dag_id(variant, body), schedule=None, **dag_arguments):
        BrowserOperator(task_id="invoke", python_callable=BODIES[body], **task_arguments)


for variant, (task_arguments, dag_arguments) in BROWSER_VARIANTS.items():
    for body in BODIES:
        make_dag(variant, body, task_arguments, dag_arguments)
