"""
Runs DAGs in a real Airflow; the last line that it prints says what became of their tasks.

``run_dags.py FOLDER [DAG_ID ...]`` runs each with a logical date, as ``airflow dags test`` does, and without, as
``airflow dags trigger`` and the REST API do.
"""

import json
import sys

from airflow_provider_kernel._compat import load_dag_folder
from airflow_provider_kernel.hooks.kernel import KernelHook

WAYS = {"with": {}, "without": {"logical_date": None}}


def conf_of(dag_id):
    if dag_id == "kernel_handoff":
        with KernelHook() as hook:
            return {"invocation_id": hook.invoke("demo", "hang").id, "orders": 42}
    if dag_id in ("kernel_answer", "kernel_callbacks", "kernel_deadline"):
        with KernelHook() as hook:
            return {"kernel_invocation_id": hook.invoke("demo", "hang").id, "city": "Lisbon"}
    return {}


def run(dag, **how):
    conf = conf_of(dag.dag_id)
    tasks = {
        f"{ti.task_id}[{ti.map_index}]" if ti.map_index >= 0 else ti.task_id: {
            "state": ti.state,
            "returned": ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index),
        }
        for ti in dag.test(run_conf=conf, **how).get_task_instances()
    }
    return {**tasks, "conf": conf}


def main(folder, *dag_ids):
    bag = load_dag_folder(folder, "dags-folder")
    result = {"errors": {str(file): error for file, error in bag.import_errors.items()}}
    for dag_id in dag_ids or bag.dags:
        dag = bag.dags[dag_id]
        dag.deadline = None  # dag.test() cannot store one (Airflow 3.3.2)
        result[dag_id] = {way: run(dag, **how) for way, how in WAYS.items()}
    print(json.dumps(result))


main(*sys.argv[1:])
