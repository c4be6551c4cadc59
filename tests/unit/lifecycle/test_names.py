"""The names of the XComs of a task that owns something."""

from airflow_provider_kernel.lifecycle.names import ownership_key, xcom_key


def test_keys_of_an_invocation():
    assert (xcom_key("invocation"), ownership_key("invocation")) == ("invocation_id", "kernel_invocation_owner")
