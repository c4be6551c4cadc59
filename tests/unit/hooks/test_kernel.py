from __future__ import annotations

import copy
import json
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import SimpleNamespace

import pytest
import structlog
from airflow.sdk import BaseHook
from contract.wire import Relay

from airflow_provider_kernel import connection_form
from airflow_provider_kernel.client.client import AsyncKernelClient, KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.errors import (
    ConnectionProblem,
    KernelAmbiguousStartError,
    KernelBadRequestError,
    KernelConfigurationError,
    KernelConnectionError,
    KernelLostContactError,
    KernelNotFoundError,
    KernelServerError,
)
from airflow_provider_kernel.client.resources.apps import list_apps
from airflow_provider_kernel.client.resources.invocations.errors import (
    KernelInvocationFinishedError,
    KernelInvocationTimeoutError,
)
from airflow_provider_kernel.client.retry import RetryPolicy
from airflow_provider_kernel.hooks.connection_test import describe_failure
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.testing import Fault, KernelEmulator

KEY = "sk-very-secret"
PROJECT_KEY = "sk-of-one-project"


@pytest.fixture(scope="module")
def started():
    with KernelEmulator(api_key=KEY) as emulator:
        emulator.add_project("shop", "proj_shop")
        emulator.add_project("other", "proj_other")
        emulator.add_key(PROJECT_KEY, "shop")
        yield emulator


@pytest.fixture
def kernel(started):
    yield started
    started.reset()


@pytest.fixture
def connect(monkeypatch):
    """Define the connection `my_kernel` in the environment."""

    def define(conn_id="my_kernel", **fields):
        document = {"conn_type": "kernel", "password": KEY, **fields}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(document))
        return conn_id

    return define


@pytest.fixture
def hook(kernel, connect):
    connect(host=kernel.base_url)
    with KernelHook("my_kernel") as hook:
        yield hook


@pytest.fixture
def log(monkeypatch):
    """Collect the lines of hooks: pairs of level and text."""
    lines = []

    class Log:
        def info(self, text, *args):
            self.log(20, text, *args)

        def warning(self, text, *args):
            self.log(30, text, *args)

        def log(self, level, text, *args):
            lines.append((level, text % args if args else text))

    monkeypatch.setattr(KernelHook, "log", Log())
    return lines


class TestForm:
    """Airflow 3.1 reads the form from the hook, later versions from the metadata; both must be equal."""

    def test_hook_names_its_connection_type(self):
        assert (KernelHook.conn_type, KernelHook.hook_name) == ("kernel", "Kernel")
        assert (KernelHook.conn_name_attr, KernelHook.default_conn_name) == ("kernel_conn_id", "kernel_default")
        assert KernelHook().kernel_conn_id == "kernel_default"

    def test_hook_form_has_the_standard_fields_of_the_metadata(self):
        assert KernelHook.get_ui_field_behaviour() == {
            "hidden_fields": ["schema", "login", "extra"],
            "relabeling": connection_form.RELABELING,
            "placeholders": connection_form.PLACEHOLDERS,
        }

    def test_hook_form_has_the_widgets_of_the_metadata(self, monkeypatch):
        def kind(name):
            return lambda label, **options: SimpleNamespace(kind=name, label=label, **options)

        fake = SimpleNamespace(StringField=kind("string"), IntegerField=kind("integer"))
        monkeypatch.setitem(sys.modules, "wtforms", fake)
        widgets = KernelHook.get_connection_form_widgets()
        fields = connection_form.conn_fields()
        assert list(widgets) == list(fields)
        for name, widget in widgets.items():
            assert widget.label == fields[name]["label"]
            assert widget.description == fields[name]["description"]
            default = fields[name]["schema"]["default"]
            assert widget.default == (str(default) if "number" in fields[name]["schema"]["type"] else default)
            assert (widget.kind == "integer") == ("integer" in fields[name]["schema"]["type"])


class TestConfig:
    def test_hook_config_is_read_from_the_connection(self, connect):
        connect(host="http://127.0.0.1:8080", extra={"project": "shop", "max_attempts": 2})
        config = KernelHook("my_kernel").config
        assert (config.api_key, config.base_url, config.project) == (KEY, "http://127.0.0.1:8080", "shop")
        assert config.retry.max_attempts == 2

    def test_hook_reads_its_connection_once_at_the_first_use(self, connect, monkeypatch):
        lookups = []
        monkeypatch.setattr(
            KernelHook,
            "get_connection",
            classmethod(lambda cls, conn_id: lookups.append(conn_id) or BaseHook.get_connection(conn_id)),
        )
        connect(host="http://127.0.0.1:1")
        hook = KernelHook("my_kernel", retry=RetryPolicy(max_attempts=1))
        assert lookups == []
        assert hook.config is hook.config
        hook.get_conn()
        hook.close()
        hook.get_conn()
        hook.test_connection()
        hook.close()
        assert lookups == ["my_kernel"]

    def test_retry_of_the_hook_replaces_that_of_the_connection(self, connect):
        connect(extra={"max_attempts": 2, "project": "shop"})
        config = KernelHook("my_kernel", retry=RetryPolicy(max_attempts=9)).config
        assert config.retry == RetryPolicy(max_attempts=9)
        assert config.project == "shop"

    async def test_hook_config_is_the_same_in_an_event_loop(self, connect):
        connect(host="http://127.0.0.1:8080", extra={"project": "shop", "verify_tls": False})
        assert await KernelHook("my_kernel").aget_config() == KernelHook("my_kernel").config
        policy = RetryPolicy(max_attempts=9)
        assert (await KernelHook("my_kernel", retry=policy).aget_config()).retry == policy

    async def test_hook_reads_its_connection_once_in_an_event_loop(self, connect):
        connect()
        hook = KernelHook("my_kernel")
        config = await hook.aget_config()
        connect(host="http://127.0.0.1:1")
        assert await hook.aget_config() is config
        assert hook.config is config

    def test_invalid_connection_is_named_in_the_error(self, connect):
        connect(host="x/y")
        with pytest.raises(KernelConfigurationError, match=r"Airflow connection 'my_kernel': The host 'x/y'"):
            _ = KernelHook("my_kernel").config

    async def test_invalid_connection_is_named_in_the_error_in_an_event_loop(self, connect):
        connect(host="x/y")
        with pytest.raises(KernelConfigurationError, match=r"Airflow connection 'my_kernel': The host 'x/y'"):
            await KernelHook("my_kernel").aget_config()


class TestWithoutAConnection:
    @pytest.fixture(autouse=True)
    def _environment(self, monkeypatch):
        monkeypatch.setenv("KERNEL_API_KEY", KEY)
        monkeypatch.setenv("KERNEL_BASE_URL", "http://127.0.0.1:8080")
        monkeypatch.setenv("KERNEL_PROJECT", "shop")

    def test_hook_without_a_connection_uses_the_environment_and_logs_it(self, log):
        config = KernelHook("nowhere").config
        assert (config.api_key, config.base_url, config.project) == (KEY, "http://127.0.0.1:8080", "shop")
        assert log == [
            (
                20,
                "There is no Airflow connection 'nowhere'; using KERNEL_API_KEY of the environment for "
                "http://127.0.0.1:8080",
            )
        ]

    async def test_hook_without_a_connection_uses_the_environment_in_an_event_loop(self, log):
        assert await KernelHook("nowhere").aget_config() == KernelHook("nowhere").config
        assert len(log) == 2

    def test_connection_takes_precedence_over_the_environment(self, connect, log):
        connect("kernel_default", password="sk-of-the-connection")
        config = KernelHook().config
        assert config.api_key == "sk-of-the-connection"
        assert (config.base_url, config.project) == ("https://api.onkernel.com", None)
        assert log == []

    def test_connection_without_a_key_is_an_error_despite_the_environment(self, connect):
        connect(password="")
        with pytest.raises(KernelConfigurationError, match="'my_kernel': There is no API key"):
            _ = KernelHook("my_kernel").config

    def test_error_without_connection_and_key_says_how_to_create_one(self, monkeypatch):
        monkeypatch.delenv("KERNEL_API_KEY")
        with pytest.raises(KernelConfigurationError) as raised:
            _ = KernelHook("nowhere").config
        text = str(raised.value)
        assert text.startswith(
            "There is no Airflow connection 'nowhere', and no KERNEL_API_KEY in the environment."
        )
        assert "airflow connections add nowhere --conn-type kernel --conn-password" in text

    async def test_hook_without_connection_and_key_is_an_error_in_an_event_loop(self, monkeypatch):
        monkeypatch.delenv("KERNEL_API_KEY")
        with pytest.raises(KernelConfigurationError, match="There is no Airflow connection 'nowhere'"):
            await KernelHook("nowhere").aget_config()


class TestClient:
    def test_hook_uses_one_client_for_all_calls(self, hook):
        client = hook.get_conn()
        assert isinstance(client, KernelClient)
        list(hook.list_apps())
        list(hook.list_invocations())
        assert hook.get_conn() is client

    def test_closed_hook_creates_a_new_client_when_used_again(self, hook):
        first = hook.get_conn()
        hook.close()
        with pytest.raises(RuntimeError, match="closed"):
            list(first.pages(list_apps()))
        assert list(hook.list_apps())
        assert hook.get_conn() is not first

    def test_with_block_closes_the_client_of_the_hook(self, kernel, connect):
        connect(host=kernel.base_url)
        with KernelHook("my_kernel") as hook:
            client = hook.get_conn()
        with pytest.raises(RuntimeError, match="closed"):
            list(client.pages(list_apps()))

    def test_unused_hook_can_be_closed_twice(self):
        hook = KernelHook("nowhere")
        hook.close()
        hook.close()

    def test_concurrent_threads_share_one_client_and_one_connection_lookup(self, kernel, connect, monkeypatch):
        connect(host=kernel.base_url)
        get_connection, lookups = BaseHook.get_connection, []
        second = threading.Barrier(2)

        def wait_for_a_second_lookup(conn_id):
            lookups.append(conn_id)
            with suppress(threading.BrokenBarrierError):
                second.wait(0.3)
            return get_connection(conn_id)

        monkeypatch.setattr(KernelHook, "get_connection", staticmethod(wait_for_a_second_lookup))
        with KernelHook("my_kernel") as hook, ThreadPoolExecutor(8) as threads:
            clients = set(threads.map(lambda _: hook.get_conn(), range(8)))
        assert len(clients) == 1
        assert lookups == ["my_kernel"]

    def test_hook_serves_concurrent_threads_and_reuses_their_connections(self, kernel, connect):
        with Relay(kernel.port) as relay, ThreadPoolExecutor(16) as threads:
            connect(host=relay.base_url)
            with KernelHook("my_kernel") as hook:
                ids = list(threads.map(lambda _: hook.invoke("demo", "hang").id, range(64)))
                ended = list(threads.map(hook.complete_invocation, ids, range(64)))
            assert [invocation.id for invocation in ended] == ids
            assert [kernel.invocation(id_).output_json for id_ in ids] == list(range(64))
            assert relay.connections <= 16

    def test_hook_can_be_deep_copied(self):
        assert copy.deepcopy(KernelHook("my_kernel")).kernel_conn_id == "my_kernel"

    def test_hook_waits_with_its_sleep_function(self, kernel, connect):
        slept = []
        connect(host=kernel.base_url)
        kernel.add_fault(Fault("GET", "/apps", status=503, headers={"Retry-After": "7"}))
        with KernelHook("my_kernel", sleep=slept.append) as hook:
            assert list(hook.list_apps())
        assert len(slept) == 1
        assert 7 <= slept[0] <= 7.5

    async def test_async_client_of_the_hook_belongs_to_its_caller(self, hook):
        async with await hook.get_async_conn() as first, await hook.get_async_conn() as second:
            assert isinstance(first, AsyncKernelClient)
            assert first is not second
            assert first.config is hook.config
            assert [app.app_name async for app in first.pages(list_apps())] == ["demo"]

    @pytest.mark.needs_airflow("3.3", "before, Airflow's own lookup does, to mask what it found")
    async def test_async_connection_lookup_does_not_block_the_event_loop(self, connect, monkeypatch):
        def wait(*args, **options):
            raise AssertionError("a blocking call in the event loop")

        monkeypatch.setattr(KernelHook, "get_connection", wait)
        # Connection.extra_dejson calls it; in a task or the triggerer it blocks on the supervisor.
        monkeypatch.setattr("airflow.sdk.log.mask_secret", wait)
        connect(extra={"project": "shop"})
        assert (await KernelHook("my_kernel").aget_config()).project == "shop"


class TestCalls:
    """Each method sends its own request, with all its arguments."""

    def test_hook_invoke_sends_all_its_arguments(self, kernel, hook):
        kernel.register("shop", "buy", lambda ctx, payload: payload, "v2")
        started = hook.invoke("shop", "buy", {"ä": 1}, version="v2", async_timeout_seconds=60)
        assert started.action_name == "buy"
        (request,) = kernel.requests("POST", "/invocations")
        assert json.loads(request.body) == {
            "app_name": "shop",
            "action_name": "buy",
            "version": "v2",
            "async": True,
            "payload": '{"ä": 1}',
            "async_timeout_seconds": 60,
        }

    def test_hook_invoke_does_not_resend_after_a_lost_answer(self, kernel, hook):
        kernel.add_fault(Fault("POST", "/invocations", drop="after"))
        with pytest.raises(KernelAmbiguousStartError):
            hook.invoke("demo", "hang")
        assert len(kernel.requests("POST", "/invocations")) == 1
        assert len(kernel.invocations) == 1

    def test_hook_get_invocation(self, kernel, hook):
        started = hook.invoke("demo", "hang")
        fetched = hook.get_invocation(started.id)
        assert (fetched.id, fetched.app_name) == (started.id, "demo")

    def test_hook_list_invocations_fetches_pages_lazily(self, kernel, hook):
        row = {"id": "a", "status": "running"}
        kernel.add_fault(
            Fault(
                "GET", "/invocations", status=200, body=[row], headers={"X-Has-More": "true", "X-Next-Offset": "1"}
            )
        )
        kernel.add_fault(Fault("GET", "/invocations", (2,), status=200, body=[{**row, "id": "b"}]))
        rows = hook.list_invocations(
            app_name="shop",
            version="v2",
            action_name="buy",
            deployment_id="d1",
            status="running",
            since="5m",
            query="q",
        )
        assert kernel.journal == ()
        assert next(rows).id == "a"
        assert len(kernel.journal) == 1
        assert [row.id for row in rows] == ["b"]
        filters = {
            "app_name": "shop",
            "version": "v2",
            "action_name": "buy",
            "deployment_id": "d1",
            "status": "running",
            "since": "5m",
            "query": "q",
            "limit": "100",
        }
        assert [dict(request.query) for request in kernel.journal] == [
            {**filters, "offset": "0"},
            {**filters, "offset": "1"},
        ]

    @pytest.mark.parametrize(
        ("call", "status", "output"),
        [
            (lambda hook, run: hook.complete_invocation(run, {"a": 1}), "succeeded", '{"a": 1}'),
            (lambda hook, run: hook.complete_invocation(run), "succeeded", None),
            (lambda hook, run: hook.complete_invocation(run, None), "succeeded", "null"),
            (lambda hook, run: hook.update_invocation(run, "failed", "why"), "failed", '"why"'),
            (lambda hook, run: hook.update_invocation(run, "succeeded"), "succeeded", None),
        ],
        ids=["complete", "complete without output", "complete with None", "fail", "succeed"],
    )
    def test_hook_update_and_complete_send_status_and_output(self, kernel, hook, call, status, output):
        run = hook.invoke("demo", "hang").id
        assert call(hook, run).status == status
        assert kernel.invocation(run).status == status
        (request,) = kernel.requests("PATCH")
        sent = json.loads(request.body)
        assert (sent["status"], sent.get("output")) == (status, output)

    def test_hook_complete_raises_for_a_failed_invocation(self, kernel, hook):
        run = hook.invoke("demo", "hang").id
        kernel.finish(run, "failed", output="its own")
        kernel.add_fault(Fault("PATCH", "/invocations/*", status=400))
        with pytest.raises(KernelInvocationFinishedError):
            hook.complete_invocation(run, "late")

    def test_hook_cancel_ends_the_invocation_and_logs_it(self, kernel, hook, log):
        run = hook.invoke("demo", "hang").id
        assert hook.cancel_invocation(run, "not wanted").status == "failed"
        assert [request.method for request in kernel.journal] == ["POST", "GET", "PATCH", "DELETE"]
        assert json.loads(kernel.requests("PATCH")[0].body)["output"] == '{"error": "not wanted"}'
        assert log == [(20, f"Invocation {run} was cancelled; it is now failed")]

    def test_hook_cancel_has_a_default_reason(self, kernel, hook):
        hook.cancel_invocation(hook.invoke("demo", "hang").id)
        assert json.loads(kernel.requests("PATCH")[0].body)["output"] == '{"error": "Cancelled by Airflow"}'

    def test_hook_cancel_leaves_a_succeeded_invocation_unchanged(self, kernel, hook, log):
        run = hook.invoke("demo", "hang").id
        kernel.finish(run, "succeeded", output=5)
        assert hook.cancel_invocation(run).parsed_output() == 5
        assert [request.method for request in kernel.journal] == ["POST", "GET"]
        assert log == [(20, f"Invocation {run} had already ended as succeeded")]

    def test_hook_lists_and_deletes_invocation_browsers(self, kernel, hook):
        browser = {"session_id": "s1"}
        kernel.add_fault(Fault("GET", "/invocations/*/browsers", status=200, body={"browsers": [browser]}))
        run = hook.invoke("demo", "hang").id
        assert [browser.session_id for browser in hook.list_invocation_browsers(run)] == ["s1"]
        assert hook.delete_invocation_browsers(run) is None
        assert [request.path for request in kernel.requests("DELETE")] == [f"/invocations/{run}/browsers"]

    def test_hook_list_apps_sends_its_filters(self, kernel, hook):
        assert [app.app_name for app in hook.list_apps(app_name="demo", version="latest", query="de")] == ["demo"]
        (request,) = kernel.journal
        assert {("app_name", "demo"), ("version", "latest"), ("query", "de")} <= set(dict(request.query).items())

    def test_hook_sends_the_project_of_the_connection(self, kernel, connect):
        connect(host=kernel.base_url, extra={"project": "shop"})
        with KernelHook("my_kernel") as hook:
            list(hook.list_invocations())
        headers = {name.lower(): value for name, value in dict(kernel.journal[0].headers).items()}
        assert headers["x-kernel-project"] == "shop"
        assert headers["user-agent"] == hook.config.user_agent

    def test_hook_error_does_not_hold_the_key(self, kernel, hook):
        kernel.add_fault(Fault("GET", "/apps", None, status=500))
        hook = KernelHook("my_kernel", retry=RetryPolicy(max_attempts=1))
        with hook, pytest.raises(KernelServerError) as raised:
            list(hook.list_apps())
        assert KEY not in f"{raised.value!s}{raised.value!r}{vars(raised.value)}"


class TestConnectionTest:
    """The messages of the Test button in Airflow's connection form."""

    @pytest.fixture
    def run_test(self, kernel, connect):
        def ask(**fields):
            connect(**{"host": kernel.base_url, **fields})
            worked, message = KernelHook("my_kernel").test_connection()
            assert KEY not in message
            assert PROJECT_KEY not in message
            assert message.isprintable()
            return worked, message

        return ask

    def test_connection_test_names_organization_and_project(self, kernel, run_test):
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
    def test_connection_test_names_the_project_of_connection_or_key(self, run_test, fields, project):
        worked, message = run_test(**fields)
        assert worked
        assert message.endswith(f"acts in project {project}")

    def test_connection_test_without_a_project_names_the_default_one(self, kernel, run_test):
        kernel.add_fault(Fault("GET", "/auth/context", status=200, body={"organization": {"id": "org_1"}}))
        assert run_test()[1].endswith("the key belongs to organization org_1 and acts in its default project")

    def test_connection_test_sends_one_get(self, kernel, run_test):
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
    def test_connection_test_describes_an_api_error_after_one_attempt(
        self, kernel, run_test, fault, kind, expected
    ):
        kernel.add_fault(Fault("GET", "/auth/context", None, **fault))
        worked, message = run_test()
        assert not worked
        assert message.startswith(kind.format(url=kernel.base_url) + " GET /auth/context: ")
        assert expected in message
        assert "(1 attempt in " in message
        assert len(kernel.journal) == 1

    @pytest.mark.parametrize("port", [None, 0])
    def test_connection_test_works_with_port_0(self, kernel, run_test, port):
        worked, message = run_test(port=port)
        assert worked
        assert message.startswith(f"Connected to {kernel.base_url}: ")

    def test_connection_test_works_with_the_port_in_host_and_port_field(self, kernel, run_test):
        assert run_test(port=int(kernel.base_url.rpartition(":")[2]))[0]

    def test_connection_test_has_a_message_for_each_connection_problem(self):
        config = KernelConfig(KEY)
        summaries = {
            describe_failure(KernelConnectionError("m", problem=problem), config).partition(".")[0]
            for problem in ConnectionProblem
        }
        assert len(summaries) == len(ConnectionProblem)

    def test_connection_test_with_a_wrong_key(self, kernel, run_test):
        worked, message = run_test(password="sk-wrong-key")
        assert not worked
        assert message.startswith(f"{kernel.base_url} does not accept the API key. ")
        assert "401 unauthorized" in message
        assert "Put a valid one into the API key (password) of the Airflow connection" in message
        assert "sk-wrong-key" not in message

    def test_connection_test_with_a_key_of_another_project(self, run_test):
        worked, message = run_test(password=PROJECT_KEY, extra={"project": "other"})
        assert not worked
        assert message.startswith("The API key is valid, but it may not act in the project 'other'. ")
        assert "403 forbidden" in message
        assert "Check that the key may act in the project that the connection names" in message

    def test_connection_test_with_an_unknown_project(self, run_test):
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
    def test_connection_test_of_another_server_says_that_it_is_not_kernel(self, kernel, run_test, fault, expected):
        kernel.add_fault(Fault("GET", "/auth/context", **fault))
        worked, message = run_test()
        assert not worked
        assert message.startswith(f"Something answers at {kernel.base_url}, but it is not the Kernel API")
        assert expected in message

    def test_connection_test_of_an_unknown_host_name(self, run_test, monkeypatch):
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

    def test_connection_test_of_a_closed_port(self, run_test):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            host = f"http://127.0.0.1:{taken.getsockname()[1]}"
            worked, message = run_test(host=host)
        assert not worked
        assert message.startswith(
            f"Nothing listens at {host}. GET /auth/context: the connection was refused (1 attempt in "
        )
        assert "Check the host and port in the Airflow connection; nothing listens there" in message

    def test_connection_test_of_a_server_without_tls(self, kernel, run_test):
        host = kernel.base_url.replace("http:", "https:")
        worked, message = run_test(host=host)
        assert not worked
        assert message.startswith(f"No secure connection to {host} can be made. GET /auth/context: TLS failed (")
        assert "name its CA bundle in verify_tls" in message

    def test_connection_test_of_a_server_that_does_not_answer(self, kernel, run_test):
        fault = kernel.add_fault(Fault("GET", "/auth/context", hold=True))
        worked, message = run_test(extra={"read_timeout": 0.1})
        fault.release()
        assert not worked
        assert message.startswith(f"{kernel.base_url} does not answer in time. ")
        assert "no answer in time" in message
        assert "raise read_timeout (or connect_timeout) in the connection's extra" in message

    def test_connection_test_limits_its_timeouts(self, kernel, connect, monkeypatch):
        configs = []

        class Client(KernelClient):
            def __init__(self, config):
                configs.append(config)
                super().__init__(config)

        monkeypatch.setattr("airflow_provider_kernel.hooks.kernel.KernelClient", Client)
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
    def test_connection_test_of_an_invalid_connection_sends_nothing(self, kernel, run_test, fields, expected):
        worked, message = run_test(**fields)
        assert not worked
        assert expected in message
        assert kernel.journal == ()

    def test_connection_test_without_a_connection(self):
        worked, message = KernelHook("nowhere").test_connection()
        assert not worked
        assert message.startswith("There is no Airflow connection 'nowhere'")

    def test_connection_test_does_not_change_the_hook(self, kernel, hook):
        client = hook.get_conn()
        assert hook.test_connection()[0]
        assert hook.get_conn() is client
        assert list(hook.list_apps())
        assert hook.config.retry == RetryPolicy()


def test_hook_logs_neither_key_nor_payload(kernel, connect):
    connect(host=kernel.base_url)
    with structlog.testing.capture_logs() as lines, KernelHook("my_kernel") as hook:
        hook.cancel_invocation(hook.invoke("demo", "hang", {"card": "4111"}).id)
    assert lines
    assert KEY not in str(lines)
    assert "4111" not in str(lines)


class TestWaiting:
    @pytest.fixture
    def waits(self):
        return []

    @pytest.fixture
    def patient(self, kernel, connect, waits):
        """A hook that records its waits and does not sleep."""
        connect(host=kernel.base_url)
        with KernelHook("my_kernel", sleep=waits.append) as hook:
            yield hook

    @pytest.mark.parametrize("status", ["succeeded", "failed"])
    def test_hook_wait_returns_a_succeeded_or_failed_invocation(self, kernel, connect, status):
        def end(seconds):
            kernel.finish(run, status, {"n": 1})

        connect(host=kernel.base_url)
        with KernelHook("my_kernel", sleep=end) as hook:
            run = hook.invoke("demo", "hang").id
            ended = hook.wait_for_invocation(run)
        assert (ended.id, ended.status, ended.parsed_output()) == (run, status, {"n": 1})
        assert kernel.requests("PATCH") == ()

    def test_hook_wait_logs_status_changes_and_poll_errors(self, kernel, connect, log):
        def end_after_four_polls(seconds):
            if len(kernel.requests("GET")) == 4:
                kernel.finish(run)

        connect(host=kernel.base_url)
        kernel.add_fault(Fault("GET", "/invocations/*", (2, 3), status=500))
        with KernelHook("my_kernel", sleep=end_after_four_polls) as hook:
            run = hook.invoke("demo", "hang").id
            kernel.wait_for_status(run, "running")
            hook.wait_for_invocation(run)
        assert [level for level, _ in log] == [20, 30, 20]
        first, poll_error, last = (text for _, text in log)
        assert (first, last) == (f"Invocation {run} is running", f"Invocation {run} has succeeded")
        assert poll_error.startswith(f"GET /invocations/{run}: 500 ")
        assert poll_error.endswith("; polling again")

    def test_hook_wait_polls_at_its_poll_interval(self, kernel, patient, waits):
        run = patient.invoke("demo", "hang").id
        kernel.add_fault(Fault("GET", "/invocations/*", range(1, 6), status=503))
        kernel.add_fault(Fault("GET", "/invocations/*", 6, status=400))
        with pytest.raises(KernelBadRequestError):
            patient.wait_for_invocation(run, poll_interval=0.2)
        assert len(waits) == 5
        assert all(0.17 < wait < 0.23 for wait in waits)

    @pytest.mark.usefixtures("contact_is_soon_lost")
    def test_hook_wait_polls_every_ten_seconds_by_default(self, kernel, patient, waits):
        kernel.add_fault(Fault("GET", "/invocations/*", None, status=503))
        with pytest.raises(KernelLostContactError, match="invocation abc"):
            patient.wait_for_invocation("abc")
        assert len(waits) == 19
        assert 0.4 < waits[0] < 0.6
        assert 8.9 < waits[-1] < 11.1

    def test_hook_wait_stops_at_the_deadline_without_cancelling(self, kernel, patient):
        run = patient.invoke("demo", "hang").id
        with pytest.raises(KernelInvocationTimeoutError, match=f"Invocation {run} did not end in time"):
            patient.wait_for_invocation(run, deadline=time.time())
        assert [request.method for request in kernel.journal] == ["POST", "GET"]
        assert kernel.invocation(run).status in ("queued", "running")

    def test_hook_wait_returns_an_ended_invocation_after_the_deadline(self, kernel, patient):
        run = patient.invoke("demo", "hang").id
        kernel.finish(run, "failed")
        assert patient.wait_for_invocation(run, deadline=0.0).status == "failed"

    def test_hook_wait_raises_at_once_for_an_unknown_invocation(self, kernel, patient, waits):
        with pytest.raises(KernelNotFoundError):
            patient.wait_for_invocation("abc")
        assert waits == []

    def test_hook_wait_tolerates_not_found_for_a_new_invocation(self, kernel, patient, waits):
        run = patient.invoke("demo", "hang").id
        kernel.finish(run)
        kernel.add_fault(Fault("GET", "/invocations/*", (1, 2), status=404))
        assert patient.wait_for_invocation(run, is_new=True).status == "succeeded"
        assert len(waits) == 2


class TestFollowing:
    LINES = tuple(f"line {number}" for number in range(1, 11))

    def test_hook_follow_streams_the_log_of_an_ended_invocation(self, kernel, hook):
        run = hook.invoke("demo", "logs", {"lines": 10}).id
        kernel.wait_for_status(run, "succeeded")
        assert tuple(line.message for line in hook.follow_invocation(run)) == self.LINES
        assert len(kernel.requests("GET", "/invocations/*/events")) == 1

    def test_hook_follow_streams_the_log_of_a_running_invocation(self, kernel, hook):
        go = threading.Event()

        def talk(ctx):
            ctx.log("before")
            go.wait(5)
            ctx.log("after")

        kernel.register("own", "talk", talk)
        run = hook.invoke("own", "talk").id
        kernel.wait_until(lambda: kernel.invocation(run).logs == ("before",))
        lines = hook.follow_invocation(run)
        assert next(lines).message == "before"
        assert hook.get_invocation(run).status == "running"  # the hook can be used meanwhile
        go.set()
        assert [line.message for line in lines] == ["after"]

    def test_hook_follow_reconnects_when_the_stream_breaks(self, kernel, connect):
        connect(host=kernel.base_url)
        waits = []
        kernel.add_fault(Fault("GET", "/invocations/*/events", 1, cut_after=4))
        kernel.add_fault(Fault("GET", "/invocations/*/events", 2, cut_after=8, cut="end"))
        with KernelHook("my_kernel", sleep=waits.append) as hook:
            run = hook.invoke("demo", "logs", {"lines": 10}).id
            kernel.wait_for_status(run, "succeeded")
            assert tuple(line.message for line in hook.follow_invocation(run)) == self.LINES
        assert len(waits) == 2

    def test_hook_follow_of_an_unknown_invocation_is_empty(self, hook):
        assert list(hook.follow_invocation("abc")) == []

    def test_hook_follow_sends_nothing_before_iteration(self, kernel, hook):
        hook.follow_invocation("abc")
        assert kernel.journal == ()
