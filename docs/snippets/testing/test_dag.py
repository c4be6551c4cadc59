from airflow.dag_processing.dagbag import DagBag


def test_the_dag_hands_the_search_on(
    airflow_database, kernel_emulator, kernel_connection
):
    dag = DagBag(bundle_name="dags-folder").get_dag("kernel_quickstart")

    run = dag.test()

    assert run.state == "success"
    (invocation,) = kernel_emulator.invocations
    assert invocation.status == "succeeded"
    assert invocation.payload_json == {"city": "Lisbon", "nights": 2}
