"""The README's first DAG on a whole Airflow, started in the two ways that give it no logical date."""

import pytest

DAG_ID = "buy_tickets"


@pytest.mark.parametrize("way", ["REST API", "airflow dags trigger"])
def test_first_dag_of_the_readme_runs_as_it_stands(way, stack):
    stack.wait_for_dags({DAG_ID})
    run_id = "by_command"
    if way == "REST API":
        run_id = stack.api.start_run(DAG_ID)
    else:
        stack.airflow("dags", "trigger", DAG_ID, "--run-id", run_id)
    stack.api.wait_for_state(DAG_ID, run_id, {"success"})
    assert stack.api.xcom(DAG_ID, run_id, "cheapest") == {"price": 15}
