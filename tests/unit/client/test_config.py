from __future__ import annotations

import math

import pytest

from airflow_provider_kernel.client.config import KernelConfig, normalise_base_url
from airflow_provider_kernel.client.errors import KernelConfigurationError

KEY = "sk-very-secret"


class TestBaseUrl:
    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ("api.onkernel.com", "https://api.onkernel.com"),
            ("https://api.onkernel.com", "https://api.onkernel.com"),
            ("https://api.onkernel.com/", "https://api.onkernel.com"),
            ("  api.onkernel.com\n", "https://api.onkernel.com"),
            ("HTTPS://API.OnKernel.com", "https://api.onkernel.com"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("127.0.0.1:8080", "https://127.0.0.1:8080"),
            ("localhost", "https://localhost"),
            ("my_kernel.internal.", "https://my_kernel.internal."),
            ("[::1]:8080", "https://[::1]:8080"),
            ("http://[::1]", "http://[::1]"),
            ("::1", "https://[::1]"),
            ("http://fd00::7/", "http://[fd00::7]"),
            (f"{'a' * 63}.example.com.", f"https://{'a' * 63}.example.com."),
            ("bücher.example", "https://bücher.example"),
            ("api.onkernel.com:", "https://api.onkernel.com"),
        ],
    )
    def test_base_url_is_scheme_host_and_port(self, given, expected):
        assert normalise_base_url(given) == expected

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ("https://api.onkernel.com/v1", "it has a path (/v1)"),
            ("api.onkernel.com//", "it has a path (//)"),
            ("api.onkernel.com?x=1", "it has a query or a fragment"),
            ("api.onkernel.com?", "it has a query or a fragment"),
            ("api.onkernel.com#x", "it has a query or a fragment"),
            ("ftp://api.onkernel.com", "its scheme is 'ftp'; allowed are http and https"),
            ("://api.onkernel.com", "its scheme is ''"),
            ("", "it names no host"),
            ("https://", "it names no host"),
            ("https:///path", "it names no host"),
            ("api.onkernel .com", "it names no host"),
            ("api.onkernel\n.com", "it names no host"),
            ("api\x01.onkernel.com", "cannot be the name or address of a host"),
            ("api\u200b.onkernel.com", "cannot be the name or address of a host"),
            ("'api.onkernel.com'", "cannot be the name or address of a host"),
            ("api.onkernel.com\\v1", "cannot be the name or address of a host"),
            ("<host>", "cannot be the name or address of a host"),
            ("*.onkernel.com", "cannot be the name or address of a host"),
            ("☃.example", "cannot be the name or address of a host"),
            ("a..b", "cannot be the name or address of a host"),
            (".example.com", "cannot be the name or address of a host"),
            (f"{'a' * 64}.example.com", "cannot be the name or address of a host"),
            (f"{'ü' * 60}.example.com", "cannot be the name or address of a host"),
            ("http://[::1", "is no URL"),
            ("api.onkernel.com:99999", "is no URL: Port out of range"),
            ("api.onkernel.com:https", "is no URL: Port"),
        ],
    )
    def test_invalid_base_url_is_refused_with_the_reason(self, given, says):
        with pytest.raises(KernelConfigurationError) as raised:
            normalise_base_url(given)
        assert says in str(raised.value)
        assert repr(given.strip()) in str(raised.value)

    def test_refused_base_url_shows_valid_examples(self):
        with pytest.raises(
            KernelConfigurationError, match=r"'api\.onkernel\.com' or .* 'https://api\.onkernel\.com'"
        ):
            normalise_base_url("api.onkernel.com/v1")

    @pytest.mark.parametrize(
        "given",
        [
            "https://user:secret@api.onkernel.com",
            "secret@api.onkernel.com",
            "https://:secret@api.onkernel.com:8080",
            "https://user:secret@more@api.onkernel.com",
            "https://user:secret/more@api.onkernel.com",
            "user/secret@api.onkernel.com",
            "user:secret?x@api.onkernel.com",
            "user:secret#x@api.onkernel.com",
            "ftp://secret@api.onkernel.com",
        ],
    )
    def test_credentials_in_a_base_url_are_refused_and_not_shown(self, given):
        with pytest.raises(KernelConfigurationError, match="it holds credentials") as raised:
            normalise_base_url(given)
        assert "…@api.onkernel.com" in str(raised.value)
        assert "secret" not in str(raised.value)
        assert "user" not in str(raised.value)


class TestKey:
    @pytest.mark.parametrize("given", [KEY, f"{KEY}\n", f"\t{KEY}\r\n", f" {KEY} "], ids=repr)
    def test_white_space_around_the_key_is_dropped(self, given):
        config = KernelConfig(given)
        assert config.api_key == KEY
        assert config.headers()["Authorization"] == f"Bearer {KEY}"

    @pytest.mark.parametrize("given", ["", "  ", "\n", None, 5], ids=repr)
    def test_missing_key_is_refused(self, given):
        with pytest.raises(KernelConfigurationError, match=r"There is no API key: .*password.*KERNEL_API_KEY"):
            KernelConfig(given)

    @pytest.mark.parametrize("given", ["x", "test", "sk-shop", " sk-shop \n"], ids=repr)
    def test_short_key_is_refused_without_showing_it(self, given):
        """It would be masked in words that merely contain it."""
        with pytest.raises(KernelConfigurationError) as raised:
            KernelConfig(given)
        assert str(raised.value) == (
            "The API key is too short: a key has 8 characters at least. Put the whole key into the API key "
            "(password) of the Airflow connection; where kernel_default is no connection, into KERNEL_API_KEY"
        )
        assert given.strip() not in repr(raised.value).replace("text", "")

    def test_key_of_eight_characters_is_enough(self):
        assert KernelConfig("sk-12345").api_key == "sk-12345"

    @pytest.mark.parametrize(
        "given",
        [
            "sk-very\n-secret",
            "sk-very\r\nX-Evil: secret",
            "sk-very\x00secret",
            "sk-vérysecret",
            "sk-very\u200bsecret",
        ],
        ids=ascii,
    )
    def test_key_that_no_header_can_hold_is_refused_without_showing_it(self, given):
        with pytest.raises(
            KernelConfigurationError, match="The API key cannot be sent in an HTTP header"
        ) as raised:
            KernelConfig(given)
        assert "sk-" not in f"{raised.value!s}{raised.value!r}"
        assert "secret" not in f"{raised.value!s}{raised.value!r}"

    def test_key_is_in_no_repr(self):
        config = KernelConfig(KEY, project="shop")
        assert KEY not in f"{config!r}{config!s}{[config]}"
        assert "shop" in repr(config)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"project": "ä"},
            {"base_url": "x/y"},
            {"base_url": f"https://{KEY}/y"},
            {"dashboard_url": f"x/{KEY}"},
            {"project": f"{KEY}\n"},
            {"connect_timeout": 0},
            {"read_timeout": None},
        ],
        ids=repr,
    )
    def test_key_is_in_no_error_about_another_setting(self, wrong):
        with pytest.raises(KernelConfigurationError) as raised:
            KernelConfig(KEY, **wrong)
        assert KEY not in f"{raised.value!s}{raised.value!r}"


class TestProject:
    def test_project_is_sent_in_a_header(self):
        assert KernelConfig(KEY, project="My shop").headers()["X-Kernel-Project"] == "My shop"

    def test_no_project_sends_no_header(self):
        assert "X-Kernel-Project" not in KernelConfig(KEY).headers()

    @pytest.mark.parametrize("project", ["", " shop", "shop ", "shop\nX-Evil: 1", "Büro", "a\x7f"], ids=ascii)
    def test_project_that_no_header_can_hold_is_refused(self, project):
        with pytest.raises(KernelConfigurationError) as raised:
            KernelConfig(KEY, project=project)
        assert str(raised.value).startswith(f"project {project!r} cannot be sent in an HTTP header")


class TestTimeouts:
    @pytest.mark.parametrize("name", ["connect_timeout", "read_timeout"])
    @pytest.mark.parametrize("value", [0, -1, math.inf, math.nan, "5", True, None], ids=repr)
    def test_timeout_that_is_no_positive_number_is_refused(self, name, value):
        with pytest.raises(KernelConfigurationError) as raised:
            KernelConfig(KEY, **{name: value})
        assert str(raised.value) == f"{name} is {value!r}; it takes a number of seconds above 0"

    def test_timeouts_may_be_any_positive_numbers(self):
        config = KernelConfig(KEY, connect_timeout=0.1, read_timeout=3600)
        assert (config.connect_timeout, config.read_timeout) == (0.1, 3600)


def test_config_makes_the_headers_of_a_request():
    assert KernelConfig(KEY, user_agent="test/1").headers() == {
        "Authorization": f"Bearer {KEY}",
        "Accept": "application/json",
        "User-Agent": "test/1",
    }


def test_default_config_leads_to_kernel():
    config = KernelConfig(KEY)
    assert config.base_url == "https://api.onkernel.com"
    assert config.verify_tls is True
    assert config.project is None
    assert (config.connect_timeout, config.read_timeout) == (5, 60)
