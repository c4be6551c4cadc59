"""``airflow-kernel demo``: the example DAGs, run by a real Airflow in one process, and checked."""
