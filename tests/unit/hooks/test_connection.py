from __future__ import annotations

import json

import pytest
from airflow.sdk import Connection
from airflow.version import version as airflow_version

from airflow_provider_kernel import __version__
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.errors import KernelConfigurationError
from airflow_provider_kernel.client.retry import RetryPolicy
from airflow_provider_kernel.client.sanitize import short_repr
from airflow_provider_kernel.connection_form import EXTRA_FIELDS
from airflow_provider_kernel.hooks.connection import config_from_connection, config_from_environment, user_agent

KEY = "sk-very-secret"


def connection(extra=None, **fields):
    if extra is not None and not isinstance(extra, str):
        extra = json.dumps(extra)
    return Connection(conn_id="my_kernel", conn_type="kernel", extra=extra, **{"password": KEY, **fields})


def config(extra=None, **fields):
    return config_from_connection(connection(extra, **fields))


def refusal(extra=None, **fields):
    """Return why a connection is refused, and check what holds for every refusal."""
    with pytest.raises(KernelConfigurationError) as raised:
        config(extra, **fields)
    text = str(raised.value)
    assert text.startswith("Airflow connection 'my_kernel': ")
    assert KEY not in f"{text}{raised.value!r}"
    assert raised.value.__suppress_context__
    return text.removeprefix("Airflow connection 'my_kernel': ")


class TestDefaults:
    DEFAULTS = KernelConfig(KEY, user_agent=user_agent())

    @pytest.mark.parametrize(
        "extra",
        [
            None,
            "",
            {},
            {field.name: None for field in EXTRA_FIELDS},
            {field.name: "" for field in EXTRA_FIELDS},
            {field.name: "  " for field in EXTRA_FIELDS},
            {field.name: field.default for field in EXTRA_FIELDS},
        ],
        ids=["none", "empty", "empty object", "null", "empty text", "blank", "the default"],
    )
    def test_absent_empty_and_null_fields_mean_the_defaults(self, extra):
        assert config(extra) == self.DEFAULTS

    def test_connection_with_only_a_key_uses_the_default_base_url(self):
        assert config().base_url == "https://api.onkernel.com"


class TestExtra:
    WANTED = KernelConfig(
        KEY,
        project="shop",
        connect_timeout=2.5,
        read_timeout=30,
        verify_tls=False,
        retry=RetryPolicy(max_attempts=3, max_seconds=10),
        user_agent=user_agent(),
        dashboard_url="https://dashboard.example/{invocation_id}",
    )

    def test_extra_with_native_json_types_is_read(self):
        assert (
            config(
                {
                    "project": "shop",
                    "connect_timeout": 2.5,
                    "read_timeout": 30,
                    "max_attempts": 3,
                    "max_retry_seconds": 10,
                    "verify_tls": False,
                    "dashboard_url": "https://dashboard.example/{invocation_id}",
                }
            )
            == self.WANTED
        )

    def test_extra_with_all_values_as_text_from_a_uri_is_read(self):
        from_uri = Connection.from_uri(
            conn_id="my_kernel",
            uri=f"kernel://:{KEY}@?project=shop&connect_timeout=2.5&read_timeout=30&max_attempts=3"
            "&max_retry_seconds=10&verify_tls=false"
            "&dashboard_url=https%3A%2F%2Fdashboard.example%2F%7Binvocation_id%7D",
        )
        assert config_from_connection(from_uri) == self.WANTED

    def test_extra_may_be_a_dict_as_airflow_3_2_sets_for_a_uri(self):
        made = connection()
        made.extra = {"project": "shop"}
        assert config_from_connection(made).project == "shop"

    def test_text_in_the_extra_is_stripped(self):
        assert config({"project": " shop ", "read_timeout": " 30 "}).project == "shop"

    @pytest.mark.parametrize("value", [3, 3.0, "3", "3.0"], ids=repr)
    def test_whole_number_in_the_extra_may_be_int_float_or_text(self, value):
        attempts = config({"max_attempts": value}).retry.max_attempts
        assert (attempts, type(attempts)) == (3, int)

    @pytest.mark.parametrize(
        ("name", "low", "high"),
        [
            ("connect_timeout", 0.1, 300),
            ("read_timeout", 0.1, 3600),
            ("max_attempts", 1, 100),
            ("max_retry_seconds", 0, 86400),
        ],
    )
    class TestNumbers:
        def test_number_at_its_bounds_is_taken(self, name, low, high):
            config({name: low})
            config({name: high})

        @pytest.mark.parametrize("value", ["below", "above", "1e999", "inf", "-inf", "nan", 10**400], ids=str)
        def test_number_out_of_its_bounds_is_refused(self, name, low, high, value):
            value = {"below": low - 1, "above": high + 1}.get(value, value)
            kind = "a whole number" if name == "max_attempts" else "a number"
            assert (
                refusal({name: value})
                == f"{name} in the extra is {short_repr(value)}; it takes {kind} from {low} to {high}"
            )

        @pytest.mark.parametrize("value", [True, False, "soon", "5s", [5], {"a": 5}], ids=repr)
        def test_number_of_a_wrong_type_is_refused(self, name, low, high, value):
            assert refusal({name: value}).startswith(f"{name} in the extra is {value!r}; it takes a")

        def test_nan_in_the_extra_is_refused(self, name, low, high):
            assert f"{name} in the extra is nan" in refusal(f'{{"{name}": NaN}}')

    @pytest.mark.parametrize("value", [2.5, "2.5"], ids=repr)
    def test_fractional_max_attempts_is_refused(self, value):
        assert refusal({"max_attempts": value}).endswith("it takes a whole number from 1 to 100")

    def test_dashboard_url_with_an_unknown_placeholder_is_refused(self):
        assert refusal({"dashboard_url": "https://x.example/{run}"}) == (
            "dashboard_url 'https://x.example/{run}' cannot be used: it names {run}. "
            "Give an http or https address; it may hold {invocation_id}, {app_name}, {session_id}, "
            "in its path, query or fragment"
        )

    @pytest.mark.parametrize("name", ["project", "dashboard_url"])
    @pytest.mark.parametrize("value", [5, True, False, ["shop"], {"name": "shop"}], ids=repr)
    def test_text_field_of_a_wrong_type_is_refused(self, name, value):
        assert refusal({name: value}) == f"{name} in the extra is {value!r}; it takes text"

    def test_project_that_is_no_header_value_is_refused(self):
        assert refusal({"project": "Büro"}).startswith("project 'Büro' cannot be sent in an HTTP header")

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ("projcet", "the extra has 'projcet', which is no setting; did you mean 'project'? It takes project, "),
            ("Project", "the extra has a name, which is no setting; did you mean 'project'?"),
            ("extra__kernel__read_timeout", "; did you mean 'read_timeout'?"),
            ("timeout", "; did you mean "),
            ("api_key", "the extra has 'api_key', which is no setting. It takes project, connect_timeout, "),
            (KEY, "the extra has a name, which is no setting"),
        ],
    )
    def test_unknown_setting_is_refused_and_the_nearest_is_named(self, given, words):
        message = refusal({given: "shop"})
        assert words in message
        assert KEY not in message

    @pytest.mark.parametrize("extra", ["[]", '"project"', "5", "null", "{", "{'project': 'shop'}", "project=shop"])
    def test_extra_that_is_no_json_object_is_refused(self, extra):
        assert refusal(extra) == "the extra is not a JSON object"


class TestVerifyTls:
    @pytest.mark.parametrize(
        ("value", "taken"),
        [
            (True, True),
            (False, False),
            ("true", True),
            ("False", False),
            ("TRUE", True),
            (" false ", False),
            (None, True),
            ("", True),
            ("/etc/ssl/kernel.pem", "/etc/ssl/kernel.pem"),
        ],
        ids=repr,
    )
    def test_verify_tls_is_a_flag_or_a_path(self, value, taken):
        assert config({"verify_tls": value}).verify_tls == taken

    @pytest.mark.parametrize("value", [0, 1, ["/etc/ssl/kernel.pem"]], ids=repr)
    def test_verify_tls_of_another_type_is_refused(self, value):
        assert refusal({"verify_tls": value}) == f"verify_tls in the extra is {value!r}; it takes text"


class TestHost:
    @pytest.mark.parametrize(
        ("fields", "base_url"),
        [
            ({}, "https://api.onkernel.com"),
            ({"host": ""}, "https://api.onkernel.com"),
            ({"host": "  "}, "https://api.onkernel.com"),
            ({"host": "", "port": 0}, "https://api.onkernel.com"),
            ({"host": "kernel.example"}, "https://kernel.example"),
            ({"host": "kernel.example", "port": 0}, "https://kernel.example"),
            ({"host": "kernel.example", "port": 8443}, "https://kernel.example:8443"),
            ({"host": "https://kernel.example/", "port": 8443}, "https://kernel.example:8443"),
            ({"host": "http://127.0.0.1:8080"}, "http://127.0.0.1:8080"),
            ({"host": "127.0.0.1", "port": 8080, "schema": "http"}, "http://127.0.0.1:8080"),
            ({"host": "127.0.0.1:8080", "schema": "http"}, "http://127.0.0.1:8080"),
            ({"host": "kernel.example", "schema": "https"}, "https://kernel.example"),
            ({"host": "https://kernel.example", "schema": "http"}, "https://kernel.example"),
            ({"host": "kernel.example", "schema": "other"}, "https://kernel.example"),
            ({"port": 8443}, "https://api.onkernel.com:8443"),
            ({"host": "http://kernel.example", "port": 80}, "http://kernel.example"),
            ({"host": "http://kernel.example", "port": 443}, "http://kernel.example:443"),
            ({"host": "[::1]", "port": 8080}, "https://[::1]:8080"),
            ({"host": "http://[::1]", "port": 8080}, "http://[::1]:8080"),
        ],
        ids=str,
    )
    def test_base_url_is_built_from_host_port_and_schema(self, fields, base_url):
        assert config(**fields).base_url == base_url

    @pytest.mark.parametrize(
        "host", ["kernel.example:443", "http://127.0.0.1:8080/", "[::1]:80", "http://[::1]:80"]
    )
    def test_host_with_another_port_than_the_port_field_is_refused(self, host):
        assert refusal(host=host, port=8443) == (
            f"the host {host!r} names another port than the port field, which holds 8443; "
            "write the port into one of them only, or the same into both"
        )

    @pytest.mark.parametrize("port", [None, 0, 8080], ids=repr)
    @pytest.mark.parametrize("host", ["http://127.0.0.1:8080", "http://127.0.0.1:8080/", "http://[::1]:8080"])
    def test_host_may_repeat_the_port_of_the_port_field(self, host, port):
        assert config(host=host, port=port).base_url == host.rstrip("/")

    @pytest.mark.parametrize("host", ["fd00::7", "[fd00::7]", "http://fd00::7", "http://[fd00::7]"])
    def test_ipv6_address_may_stand_beside_a_port(self, host):
        assert config(host=host, schema="http", port=8080).base_url == "http://[fd00::7]:8080"

    @pytest.mark.parametrize(
        "uri", ["kernel://:{key}@[fd00::7]:8080/http", "kernel://http://:{key}@[fd00::7]:8080"]
    )
    def test_ipv6_address_may_stand_in_a_uri(self, uri):
        connection = Connection.from_uri(uri.format(key=KEY), conn_id="my_kernel")
        assert config_from_connection(connection).base_url == "http://[fd00::7]:8080"

    @pytest.mark.parametrize("host", ["", "api.onkernel.com", "https://api.onkernel.com", "api.onkernel.com:443"])
    @pytest.mark.parametrize("port", [0, 443])
    def test_default_port_that_enables_the_test_button_changes_nothing(self, host, port):
        assert config(host=host, port=port) == config()

    @pytest.mark.parametrize("port", [None, 443])
    @pytest.mark.parametrize(
        "host", [f"user:{KEY}@kernel.example", f"https://{KEY}@kernel.example"], ids=["a", "b"]
    )
    def test_host_with_credentials_is_refused_without_showing_them(self, host, port):
        assert "it holds credentials" in refusal(host=host, port=port)

    def test_host_with_a_path_is_refused(self):
        assert "it has a path (/v1)" in refusal(host="kernel.example/v1")

    def test_host_of_a_connection_uri_may_be_a_base_url(self):
        from_uri = Connection.from_uri(conn_id="my_kernel", uri=f"kernel://http://:{KEY}@127.0.0.1:8080")
        assert config_from_connection(from_uri).base_url == "http://127.0.0.1:8080"


class TestKey:
    def test_api_key_is_stripped_of_a_pasted_line_break(self):
        assert config(password=f"{KEY}\n").api_key == KEY

    @pytest.mark.parametrize("password", [None, "", " "], ids=repr)
    def test_missing_api_key_is_refused(self, password):
        assert refusal(password=password).startswith("There is no API key: put it into the API key (password)")

    def test_api_key_that_is_no_header_value_is_refused(self):
        assert refusal(password=f"{KEY}\nX: 1").startswith("The API key cannot be sent in an HTTP header")


class TestEnvironment:
    @pytest.fixture(autouse=True)
    def _clean(self, monkeypatch):
        for name in ("KERNEL_API_KEY", "KERNEL_BASE_URL", "KERNEL_PROJECT"):
            monkeypatch.delenv(name, raising=False)

    def test_environment_without_a_key_gives_no_config(self, monkeypatch):
        monkeypatch.setenv("KERNEL_BASE_URL", "http://127.0.0.1:8080")
        monkeypatch.setenv("KERNEL_PROJECT", "shop")
        assert config_from_environment() is None
        monkeypatch.setenv("KERNEL_API_KEY", "")
        assert config_from_environment() is None

    def test_environment_with_only_a_key_gives_a_config(self, monkeypatch):
        monkeypatch.setenv("KERNEL_API_KEY", f"{KEY}\n")
        assert config_from_environment() == KernelConfig(KEY, user_agent=user_agent())

    def test_environment_sets_key_base_url_and_project(self, monkeypatch):
        monkeypatch.setenv("KERNEL_API_KEY", KEY)
        monkeypatch.setenv("KERNEL_BASE_URL", "http://127.0.0.1:8080")
        monkeypatch.setenv("KERNEL_PROJECT", "shop")
        assert config_from_environment() == KernelConfig(
            KEY, base_url="http://127.0.0.1:8080", project="shop", user_agent=user_agent()
        )

    def test_empty_environment_variables_mean_the_defaults(self, monkeypatch):
        monkeypatch.setenv("KERNEL_API_KEY", KEY)
        monkeypatch.setenv("KERNEL_BASE_URL", "")
        monkeypatch.setenv("KERNEL_PROJECT", "")
        assert config_from_environment() == KernelConfig(KEY, user_agent=user_agent())

    @pytest.mark.parametrize(
        ("name", "value"),
        [("KERNEL_API_KEY", f"{KEY}\n{KEY}"), ("KERNEL_BASE_URL", "x/y"), ("KERNEL_PROJECT", "Büro")],
    )
    def test_invalid_environment_variable_is_refused_without_showing_the_key(self, monkeypatch, name, value):
        monkeypatch.setenv("KERNEL_API_KEY", KEY)
        monkeypatch.setenv(name, value)
        with pytest.raises(KernelConfigurationError) as raised:
            config_from_environment()
        assert KEY not in str(raised.value)


def test_user_agent_names_both_versions():
    assert user_agent() == f"airflow-provider-kernel/{__version__} apache-airflow/{airflow_version}"
