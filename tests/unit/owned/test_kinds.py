"""The kinds of objects that tasks and DAG runs can own."""

from airflow_provider_kernel import owned


def test_every_registered_kind_is_found_by_its_name():
    kinds = owned.kinds(dag_id="d", run_id="r")
    assert {name: kind.kind for name, kind in kinds.items()} == {"invocation": "invocation", "browser": "browser"}
