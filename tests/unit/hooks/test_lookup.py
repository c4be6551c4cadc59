"""A connection that cannot be read is no missing connection, and no other account's key stands in for it."""

from __future__ import annotations

import asyncio

import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import comms
from support.hook_keys import KEY
from support.secrets_backend import DownBackend

from airflow_provider_kernel.client.errors import KernelConfigurationError, KernelConfigurationUnavailableError
from airflow_provider_kernel.hooks.kernel import KernelHook

ANOTHER_KEY = "sk-of-another-account"
UNREADABLE = {
    f'{{"conn_type": "kernel", "password": "{KEY}"': "is not valid JSON: Expecting ',' delimiter at character",
    f'{{"conn_type": "kernel", "api_key": "{KEY}"}}': "has 'api_key', which is no field of a connection; it takes",
    f'{{"conn_type": "kernel", "{KEY}": ""}}': "has a name, which is no field of a connection; it takes",
    f'{{"conn_type": "kernel", "password": "{KEY}", "port": "https"}}': "has a port that is no number",
    f'{{"conn_type": "kernel", "password": "{KEY}", "port": 1e999}}': "has a port that is no number",
    f'{{"conn_type": "kernel", "password": {{"key": "{KEY}"}}}}': "has a password of type dict; it takes text",
    f'{{"conn_type": 5, "password": "{KEY}"}}': "has a conn_type of type int; it takes text",
    f'{{"conn_id": "kernel_default", "password": "{KEY}"}}': "has 'conn_id', which is no field of a connection",
    "  ": "holds nothing but spaces",
    f"kernel://:{KEY}@api.onkernel.com:https": "is a URI whose host or port cannot be read",
    f"kernel://:{KEY}/with/slashes@api.onkernel.com": "is a URI whose host or port cannot be read",
    f"kernel://:{KEY}@[::1": "is a URI whose host or port cannot be read",
}


@pytest.fixture(params=["thread", "event loop"])
def read(request):
    """Read a connection, on a thread or in an event loop."""

    def read_on_thread(conn_id="kernel_default"):
        return KernelHook(conn_id).config

    def read_in_loop(conn_id="kernel_default"):
        return asyncio.run(KernelHook(conn_id).aget_config())

    return read_on_thread if request.param == "thread" else read_in_loop


@pytest.fixture(autouse=True)
def _another_account(monkeypatch):
    monkeypatch.setenv("KERNEL_API_KEY", ANOTHER_KEY)


@pytest.fixture
def backend(monkeypatch):
    """A secrets backend of the user's own that is down."""
    backend = DownBackend()
    backend.install(monkeypatch)
    return backend


@pytest.mark.parametrize(("text", "problem"), UNREADABLE.items())
def test_text_that_airflow_cannot_read_is_an_error_that_says_why(text, problem, read, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", text)
    with pytest.raises(KernelConfigurationError) as raised:
        read()
    said = str(raised.value)
    where = "Airflow connection 'kernel_default': the environment variable AIRFLOW_CONN_KERNEL_DEFAULT "
    assert said.startswith(where + problem)
    assert raised.value.permanent
    assert KEY not in said


def test_backend_that_does_not_answer_is_an_error_that_passes(backend, read):
    with pytest.raises(
        KernelConfigurationUnavailableError, match="DownBackend says: the vault is sealed"
    ) as raised:
        read()
    assert not raised.value.permanent
    backend.calls_down = 0
    backend.connections["kernel_default"] = f'{{"conn_type": "kernel", "password": "{KEY}"}}'
    assert read().api_key == KEY


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (comms.ErrorResponse(error=ErrorType.GENERIC_ERROR), "GENERIC_ERROR"),
        (AirflowRuntimeError(comms.ErrorResponse(error=ErrorType.API_SERVER_ERROR)), "API_SERVER_ERROR"),
        (ConnectionError("no route"), "no route"),
    ],
    ids=str,
)
def test_api_server_that_does_not_answer_is_an_error_that_passes(failure, said, read, supervisor, monkeypatch):
    def fail(message):
        if isinstance(failure, Exception):
            raise failure
        return failure

    monkeypatch.setattr(supervisor, "_answer", fail)
    # A thread of the event loop asks, too.
    monkeypatch.setattr(supervisor, "_loop_thread", None)
    with pytest.raises(KernelConfigurationUnavailableError, match=f"Airflow's API server says: {said}"):
        read()


def test_connection_that_airflow_denies_is_an_error_of_this_package(read, backend):
    class DeniedError(PermissionError):
        """As Airflow 3.2 and later raise, which is not passed over."""

    def deny(conn_id):
        raise DeniedError("Access denied for connection 'kernel_default'")

    backend.get_conn_value = deny
    with pytest.raises(KernelConfigurationError, match="Access denied"):
        read()


def test_key_of_the_environment_stands_in_for_no_other_connection_than_the_default(read):
    with pytest.raises(KernelConfigurationError) as raised:
        read("kernel_team")
    said = "There is no Airflow connection 'kernel_team', and KERNEL_API_KEY of the environment only stands in for"
    assert str(raised.value).startswith(f"{said} 'kernel_default'. Create a connection")


def test_key_of_the_environment_stands_in_for_a_default_connection_that_nobody_has(read):
    assert read().api_key == ANOTHER_KEY


def test_error_of_a_backend_that_quotes_the_connection_is_only_named(backend, read):
    def fail(conn_id):
        raise ValueError(f"cannot parse kernel://:{KEY}@")

    backend.get_conn_value = fail
    with pytest.raises(KernelConfigurationUnavailableError) as raised:
        read()
    assert str(raised.value).endswith("DownBackend says: ValueError")
