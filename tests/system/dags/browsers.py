"""A DAG for each kind of task with a browser, and for each kind of function in it."""

from airflow.sdk import DAG, task

from under_test.browser_variants import BROWSER_VARIANTS, browser_dag_id
from under_test.browsers import FUNCTIONS, BrowserOperator
from under_test.notices import hold_the_slot
from under_test.ours import net


def make_dag(variant, name, task_arguments, dag_arguments):
    dag_arguments = dict(dag_arguments)
    if dag_arguments.pop("net", False):
        dag_arguments["on_failure_callback"] = net
    has_sibling = dag_arguments.pop("sibling", False)
    with DAG(browser_dag_id(variant, name), schedule=None, **dag_arguments):
        BrowserOperator(task_id="invoke", python_callable=FUNCTIONS[name], **task_arguments)
        if has_sibling:
            task(priority_weight=100)(hold_the_slot)()


for variant, (task_arguments, dag_arguments) in BROWSER_VARIANTS.items():
    for name in FUNCTIONS:
        make_dag(variant, name, task_arguments, dag_arguments)
