"""Which Airflow a hook says that this is."""

import json

import pytest

from airflow_provider_kernel.hooks.kernel import KernelHook


@pytest.fixture
def owner(monkeypatch):
    def owner(*, extra=None, variable=None, base_url=None):
        connection = {"conn_type": "kernel", "password": "sk-test-key", "extra": extra or {}}
        monkeypatch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", json.dumps(connection))
        for name, value in (("AIRFLOW_KERNEL_OWNER", variable), ("AIRFLOW__API__BASE_URL", base_url)):
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
        hook = KernelHook()
        return hook.owner, hook.is_owner_named

    return owner


def test_owner_in_the_connection_comes_first_then_the_variable_then_the_url_of_airflow(owner):
    everything = {"variable": "of the variable", "base_url": "https://airflow.example/"}
    assert owner(extra={"owner": "prod"}, **everything) == ("prod", True)
    assert owner(**everything) == ("of the variable", True)
    assert owner(base_url="https://airflow.example/") == ("https://airflow.example", True)


def test_airflow_that_nothing_names_has_a_name_that_counts_for_little(owner):
    assert owner() == ("airflow", False)
    assert owner(variable="  ") == ("airflow", False)


def test_copy_of_a_hook_has_the_same_owner(owner, monkeypatch):
    import pickle

    owner(extra={"owner": "prod"})
    assert pickle.loads(pickle.dumps(KernelHook())).owner == "prod"  # noqa: S301
