"""Runs the snippets' DAGs in a real Airflow; the last line that it prints says what became of their tasks."""

import json
import sys

from airflow_provider_kernel._compat import load_dag_folder
from airflow_provider_kernel.hooks.kernel import KernelHook


def main(folder):
    bag = load_dag_folder(folder, "dags-folder")
    result = {"errors": {str(file): error for file, error in bag.import_errors.items()}}
    for dag_id, dag in bag.dags.items():
        conf = {}
        if dag_id == "kernel_handoff":
            with KernelHook() as hook:
                conf = {"invocation_id": hook.invoke("demo", "hang").id, "orders": 42}
        if dag_id in ("kernel_answer", "kernel_callbacks", "kernel_deadline"):
            with KernelHook() as hook:
                conf = {"kernel_invocation_id": hook.invoke("demo", "hang").id, "city": "Lisbon"}
        dag.deadline = None  # dag.test() cannot store one (Airflow 3.3.2)
        run = dag.test(run_conf=conf)
        result[dag_id] = {
            f"{ti.task_id}[{ti.map_index}]" if ti.map_index >= 0 else ti.task_id: {
                "state": ti.state,
                "returned": ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index),
            }
            for ti in run.get_task_instances()
        }
        result[dag_id]["conf"] = conf
    print(json.dumps(result))


main(sys.argv[1])
