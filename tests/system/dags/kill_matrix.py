"""A DAG for each kind of task and mode, each with the one task ``invoke``."""

import importlib
import os

from airflow.sdk import DAG, task

from under_test.notices import hold_the_slot
from under_test.variants import DEFERRABLE, MAPPED, MAPPED_BLOCKING, VARIANTS, dag_id

under_test = importlib.import_module(f"under_test.{os.environ['KILL_MATRIX_OPERATOR']}")


def make_dag(variant, mode, task_arguments, dag_arguments):
    task_arguments, dag_arguments = dict(task_arguments), dict(dag_arguments)
    action = "fail" if task_arguments.pop("fails", False) else "browsers"
    seconds = task_arguments.pop("seconds", 600)
    longest = task_arguments.pop("longest", seconds)
    items = task_arguments.pop("items", 2 if mode in (MAPPED, MAPPED_BLOCKING) else 1)
    # The run's id tells whose the invocation is; nothing else of the payload matters.
    payloads = [
        {
            **({"plain": True} if action == "fail" else _browser_for(seconds + (longest - seconds) * item / items)),
            "_run": "{{ run_id }}",
            "_item": item,
        }
        for item in range(items)
    ]
    if task_arguments.pop("marked", False) and under_test.net is not None:
        task_arguments["correlation_key"] = "_airflow"
    arguments = {
        "task_id": "invoke",
        "app_name": "demo",
        "action_name": action,
        "poll_interval": 1,
        "deferrable": mode in (DEFERRABLE, MAPPED),
        **task_arguments,
    }
    if dag_arguments.pop("net", False) and under_test.net is not None:
        dag_arguments["on_failure_callback"] = under_test.net
    if dag_arguments.pop("safety_net", False):
        dag_arguments |= under_test.safety_net
    if dag_arguments.pop("task_net", False):
        dag_arguments["default_args"] = under_test.task_net
    has_sibling = dag_arguments.pop("sibling", False)
    with DAG(dag_id(variant, mode), schedule=None, **dag_arguments):
        if items > 1:
            under_test.Operator.partial(**arguments).expand(payload=payloads)
        else:
            under_test.Operator(payload=payloads[0], **arguments)
        if has_sibling:
            task(priority_weight=100)(hold_the_slot)()


def _browser_for(seconds):
    return {"count": 1, "seconds": seconds}


for name, (modes, task_arguments, dag_arguments) in VARIANTS.items():
    for mode in modes:
        make_dag(name, mode, task_arguments, dag_arguments)
