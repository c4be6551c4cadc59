"""Clean-ups of what may not have been started: as a script, it runs them and prints their states as JSON."""

import json

from airflow.sdk import DAG, TriggerRule, task

from airflow_provider_kernel._compat import AirflowFailException, AirflowSkipException
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.operators.invocation import KernelCancelInvocationOperator

CLEAN_UPS = {
    "teardown_with_setup": lambda end, setup: end.as_teardown(setups=setup),
    "teardown": lambda end, setup: end.as_teardown(),
    "teardown_that_counts": lambda end, setup: end.as_teardown(on_failure_fail_dagrun=True),
    "all_done": lambda end, setup: end,
}


def start(how):
    if how == "fails":
        raise AirflowFailException("the set-up fails")
    if how == "is_skipped":
        raise AirflowSkipException("the set-up is skipped")
    if how == "starts_nothing":
        return None
    with KernelHook() as hook:
        return hook.invoke("demo", "hang").id


def make_dag(dag_id, how, clean_up, if_missing):
    with DAG(dag_id, schedule=None) as dag:

        @task
        def work():
            return 1

        set_up = task(start, task_id="set_up")(how)
        rule = {"trigger_rule": TriggerRule.ALL_DONE} if clean_up == "all_done" else {}
        end = KernelCancelInvocationOperator(
            task_id="end", invocation_id=set_up, if_missing=if_missing, if_finished="ignore", **rule
        )
        set_up >> work() >> CLEAN_UPS[clean_up](end, set_up)
    return dag


def make_mapped_dag():
    with DAG("mapped", schedule=None) as dag:
        ids = task(lambda: [start("succeeds"), None], task_id="set_up")()
        KernelCancelInvocationOperator.partial(task_id="end", if_missing="skip").expand(invocation_id=ids)
    return dag


#: The clean-up, what the set-up does, and if_missing.
CASES = [
    "all_done.fails.fail",
    "all_done.fails.skip",
    "all_done.is_skipped.skip",
    "teardown.fails.fail",
    "teardown.fails.skip",
    "teardown_that_counts.fails.skip",
    "teardown_that_counts.starts_nothing.fail",
    "teardown_with_setup.fails.skip",
    "teardown_with_setup.is_skipped.fail",
    "teardown_with_setup.starts_nothing.fail",
    "teardown_with_setup.starts_nothing.skip",
    "teardown_with_setup.succeeds.skip",
]
DAGS = [
    make_dag(case, how, clean_up, if_missing) for case in CASES for clean_up, how, if_missing in [case.split(".")]
]
DAGS.append(make_mapped_dag())
globals().update({f"dag_{index}": dag for index, dag in enumerate(DAGS)})

if __name__ == "__main__":
    outcomes = {}
    for dag in DAGS:
        run = dag.test()
        states = {(ti.task_id, ti.map_index): str(ti.state) for ti in run.get_task_instances()}
        ends = [state for (task_id, _), state in sorted(states.items()) if task_id == "end"]
        outcomes[dag.dag_id] = [str(run.state), *ends]
    print(json.dumps(outcomes))
