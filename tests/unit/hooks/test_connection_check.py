"""The connection test: one request, and a message that says what to do."""

from __future__ import annotations

import socket

import pytest
from support.hook_keys import KEY, PROJECT_KEY

from airflow_provider_kernel.client.client import KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.destination import ConnectionProblem
from airflow_provider_kernel.client.errors import (
    KernelConnectionError,
)
from airflow_provider_kernel.client.retry import RetryPolicy
from airflow_provider_kernel.hooks.connection_check import describe_failure
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.testing import Fault


@pytest.fixture
def run_test(kernel, connect):
    def ask(**fields):
        connect(**{"host": kernel.base_url, **fields})
        worked, message = KernelHook("my_kernel").test_connection()
        assert KEY not in message
        assert PROJECT_KEY not in message
        assert message.isprintable()
        return worked, message

    return ask


def test_connection_test_names_organization_and_project(kernel, run_test):
    assert run_test() == (
        True,
        f"Connected to {kernel.base_url}: the key belongs to organization org_emulator and acts in "
        "project proj_default",
    )


@pytest.mark.parametrize(
    ("fields", "project"),
    [
        ({"extra": {"project": "shop"}}, "proj_shop"),
        ({"extra": {"project": "proj_other"}}, "proj_other"),
        ({"password": PROJECT_KEY}, "proj_shop"),
    ],
    ids=["by name", "by id", "of the key"],
)
def test_connection_test_names_the_project_of_connection_or_key(run_test, fields, project):
    worked, message = run_test(**fields)
    assert worked
    assert message.endswith(f"acts in project {project}")


def test_connection_test_without_a_project_names_the_default_one(kernel, run_test):
    kernel.add_fault(Fault("GET", "/auth/context", status=200, body={"organization": {"id": "org_1"}}))
    assert run_test()[1].endswith("the key belongs to organization org_1 and acts in its default project")


@pytest.mark.parametrize("host", ["a..b", f"{'a' * 64}.example.com"])
def test_connection_test_refuses_a_host_with_an_impossible_label(run_test, host):
    worked, message = run_test(host=host)
    assert not worked
    assert "cannot be the name or address of a host" in message


def test_connection_test_names_a_variable_that_cannot_work(run_test, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://me:secret@proxy:port")
    worked, message = run_test()
    assert not worked
    assert message.startswith("https_proxy has a port that is no number")
    assert "secret" not in message


def test_connection_test_sends_one_get(kernel, run_test):
    run_test()
    assert [(request.method, request.path) for request in kernel.journal] == [("GET", "/auth/context")]


@pytest.mark.parametrize(
    ("fault", "kind", "expected"),
    [
        (
            {"status": 401, "body": {"code": "unauthorized", "message": "no"}},
            "{url} does not accept the API key.",
            "Put a valid one into the API key",
        ),
        (
            {"status": 403, "body": {"code": "forbidden", "message": "no"}},
            "The API key is valid, but it may not act in its own project.",
            "Check that the key may act",
        ),
        (
            {"status": 429, "body": {"code": "slow", "message": "no"}},
            "{url} limits the rate of requests; wait a moment and test again.",
            "429 slow: no",
        ),
        (
            {"status": 500, "body": {"code": "internal", "message": "no"}},
            "The Kernel API at {url} has an internal error; wait a moment and test again.",
            "500 internal: no",
        ),
        (
            {"status": 400, "body": {"code": "bad", "message": "no"}},
            "{url} does not answer as expected.",
            "400 bad: no",
        ),
        (
            {"drop": "before"},
            "The connection to {url} breaks.",
            "the connection was cut before the answer was complete",
        ),
        (
            {"truncate": True},
            "The connection to {url} breaks.",
            "the connection was cut before the answer was complete",
        ),
    ],
    ids=["401", "403", "429", "500", "400", "cut", "truncated"],
)
def test_connection_test_describes_an_api_error_after_one_attempt(kernel, run_test, fault, kind, expected):
    kernel.add_fault(Fault("GET", "/auth/context", None, **fault))
    worked, message = run_test()
    assert not worked
    assert message.startswith(kind.format(url=kernel.base_url) + " GET /auth/context: ")
    assert expected in message
    assert "(1 attempt in " in message
    assert len(kernel.journal) == 1


@pytest.mark.parametrize("port", [None, 0])
def test_connection_test_works_with_port_0(kernel, run_test, port):
    worked, message = run_test(port=port)
    assert worked
    assert message.startswith(f"Connected to {kernel.base_url}: ")


def test_connection_test_works_with_the_port_in_host_and_port_field(kernel, run_test):
    assert run_test(port=int(kernel.base_url.rpartition(":")[2]))[0]


def test_connection_test_has_a_message_for_each_connection_problem():
    config = KernelConfig(KEY)
    summaries = {
        describe_failure(KernelConnectionError("m", problem=problem), config).partition(".")[0]
        for problem in ConnectionProblem
    }
    assert len(summaries) == len(ConnectionProblem)


def test_connection_test_with_a_wrong_key(kernel, run_test):
    worked, message = run_test(password="sk-wrong-key")
    assert not worked
    assert message.startswith(f"{kernel.base_url} does not accept the API key. ")
    assert "401 unauthorized" in message
    assert "Put a valid one into the API key (password) of the Airflow connection" in message
    assert "sk-wrong-key" not in message


def test_connection_test_with_a_key_of_another_project(run_test):
    worked, message = run_test(password=PROJECT_KEY, extra={"project": "other"})
    assert not worked
    assert message.startswith("The API key is valid, but it may not act in the project 'other'. ")
    assert "403 forbidden" in message
    assert "Check that the key may act in the project that the connection names" in message


def test_connection_test_with_an_unknown_project(run_test):
    worked, message = run_test(extra={"project": "nowhere"})
    assert not worked
    assert message.startswith("The project 'nowhere' is unknown, or archived.")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"status": 200, "body": "<html>Welcome</html>"}, "200, but the body is not the Kernel API's JSON"),
        ({"status": 200, "body": {"hello": "world"}}, "organization: Field required"),
        ({"status": 200, "body": b""}, "200, but the body is not the Kernel API's JSON"),
        (
            {"status": 302, "headers": {"Location": "https://login.example"}},
            "a redirect to https://login.example",
        ),
        ({"status": 404, "body": "<html>Not Found</html>"}, "404: <html>Not Found</html>"),
        ({"status": 404, "body": {"code": "not_found", "message": "no such route"}}, "404 not_found"),
        (
            {"status": 403, "body": "<html>Forbidden</html>"},
            "or a proxy is in front of it. GET /auth/context: 403",
        ),
        ({"status": 502, "body": "<html>Bad Gateway</html>"}, "or a proxy is in front of it."),
    ],
    ids=["HTML", "other JSON", "empty", "redirect", "404 HTML", "404 JSON", "403 HTML", "502 HTML"],
)
def test_connection_test_of_another_server_says_that_it_is_not_kernel(kernel, run_test, fault, expected):
    kernel.add_fault(Fault("GET", "/auth/context", **fault))
    worked, message = run_test()
    assert not worked
    assert message.startswith(f"Something answers at {kernel.base_url}, but it is not the Kernel API")
    assert expected in message


def test_connection_test_of_an_unknown_host_name(run_test, monkeypatch):
    def resolve(*args, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    worked, message = run_test(host="nonexistent.invalid")
    assert not worked
    assert message.startswith(
        "The host of https://nonexistent.invalid cannot be resolved. GET /auth/context: the host name cannot "
        "be resolved (Name or service"
    )
    assert "Check the host's name in the Airflow connection" in message


def test_connection_test_of_a_closed_port(run_test):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{taken.getsockname()[1]}"
        worked, message = run_test(host=host)
    assert not worked
    assert message.startswith(
        f"Nothing listens at {host}. GET /auth/context: the connection was refused (1 attempt in "
    )
    assert "Check the host and port in the Airflow connection; nothing listens there" in message


def test_connection_test_of_a_server_without_tls(kernel, run_test):
    host = kernel.base_url.replace("http:", "https:")
    worked, message = run_test(host=host)
    assert not worked
    assert message.startswith(f"What answers at {host} does not speak TLS. GET /auth/context: ")
    assert message.endswith(f"write {kernel.base_url} as the host of the Airflow connection")


def test_connection_test_of_a_server_that_does_not_answer(kernel, run_test):
    fault = kernel.add_fault(Fault("GET", "/auth/context", hold=True))
    worked, message = run_test(extra={"read_timeout": 0.1})
    fault.release()
    assert not worked
    assert message.startswith(f"{kernel.base_url} does not answer in time. ")
    assert "no answer in time" in message
    assert "raise read_timeout (or connect_timeout) in the connection's extra" in message


def test_connection_test_limits_its_timeouts(kernel, connect, monkeypatch):
    configs = []

    class Client(KernelClient):
        def __init__(self, config):
            configs.append(config)
            super().__init__(config)

    monkeypatch.setattr("airflow_provider_kernel.hooks.connection_check.KernelClient", Client)
    for extra in ({"connect_timeout": 300, "read_timeout": 3600}, {"connect_timeout": 3, "read_timeout": 4}):
        connect(host=kernel.base_url, extra=extra)
        assert KernelHook("my_kernel").test_connection()[0]
    assert [(config.connect_timeout, config.read_timeout) for config in configs] == [(10, 15), (3, 4)]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"password": ""}, "Airflow connection 'my_kernel': There is no API key"),
        ({"password": f"{KEY}\n{KEY}"}, "Airflow connection 'my_kernel': The API key cannot be sent"),
        ({"host": "x/y"}, "Airflow connection 'my_kernel': The host 'x/y'"),
        ({"extra": {"read_timeout": 0}}, "Airflow connection 'my_kernel': read_timeout in the extra is 0;"),
        ({"extra": {"dashboard_url": "https://x/{id}"}}, "cannot be used: it names {id}. Give an http"),
        ({"host": "x:1", "port": 2}, "the host 'x:1' names another port than the port field, which holds 2;"),
        (
            {"extra": {"verify_tls": "/no/such.pem"}},
            "verify_tls is '/no/such.pem'; it takes true, false, or the",
        ),
    ],
    ids=["no key", "odd key", "odd host", "out of range", "odd dashboard", "two ports", "no CA bundle"],
)
def test_connection_test_of_an_invalid_connection_sends_nothing(kernel, run_test, fields, expected):
    worked, message = run_test(**fields)
    assert not worked
    assert expected in message
    assert kernel.journal == ()


def test_connection_test_without_a_connection():
    worked, message = KernelHook("nowhere").test_connection()
    assert not worked
    assert message.startswith("There is no Airflow connection 'nowhere'")


def test_connection_test_does_not_change_the_hook(kernel, hook):
    client = hook.get_conn()
    assert hook.test_connection()[0]
    assert hook.get_conn() is client
    assert list(hook.list_apps())
    assert hook.config.retry == RetryPolicy()
