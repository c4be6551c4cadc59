"""Variables of the environment that cannot work are configuration errors that name them, and never a password."""

from __future__ import annotations

import asyncio

import pytest

from airflow_provider_kernel.client.client import AsyncKernelClient, KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.errors import KernelConfigurationError
from airflow_provider_kernel.client.http import environment, transport

KEY = "sk-0123456789"
PASSWORD = "hidden"
VARIABLES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    transport._tls_context.cache_clear()
    yield
    transport._tls_context.cache_clear()


@pytest.fixture(params=[KernelClient, AsyncKernelClient])
def make(request):
    def make(**settings):
        client = request.param(KernelConfig(KEY, **settings))
        if isinstance(client, KernelClient):
            client.close()
        else:
            asyncio.run(client.close())

    return make


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("ftp://me:hidden@proxy:1", "has a scheme other than"),
        ("http://me:hidden@proxy:port", "has a port that is no number"),
        ("http://me:hidden@proxy:99999", "has a port that is no number"),
        ("me:hidden@proxy:", None),
        ("http://me:hid/den@proxy", "has a port that is no number"),
        ("http://me:hidden@", "names no host"),
        ("http://", "names no host"),
        ("http://me:hidden@a..b:1", "names no host"),
        (f"http://me:hidden@{'a' * 64}:1", "names no host"),
        ("http://me:hidden@pro xy", "names no host"),
        ("http://me:hidden@[::1", "is no URL"),
        ("http://me:hidden@[::1]:3128", None),
        ("http://me:hidden[@proxy:1", None),
        ("http://me:hidden\u2100@proxy:1", None),
        ("http://me:hidden@proxy\x01", "names no host"),
        ("proxy:3128", None),
        ("https://proxy.example.com", None),
    ],
)
@pytest.mark.parametrize("name", ["HTTP_PROXY", "https_proxy", "ALL_PROXY"])
def test_proxy_that_cannot_work_is_refused_by_the_name_of_its_variable(make, monkeypatch, name, value, problem):
    monkeypatch.setenv(name, value)
    if problem is None:
        make()
        return
    with pytest.raises(KernelConfigurationError, match=f"^{name} {problem}") as caught:
        make()
    assert PASSWORD not in f"{caught.value!r}"
    assert caught.value.__cause__ is None


def test_socks_proxy_without_its_package_is_refused(make, monkeypatch):
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("HTTPS_PROXY", "socks5://me:hidden@proxy:1080")
    with pytest.raises(
        KernelConfigurationError, match=r"^HTTPS_PROXY names a SOCKS proxy.*httpx\[socks\]"
    ) as caught:
        make()
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("value", ["[::1]", "fd00::/8", "host:port", "a\x01b"])
def test_no_proxy_that_cannot_be_read_is_refused(make, monkeypatch, value):
    monkeypatch.setenv("NO_PROXY", f"localhost,{value}")
    with pytest.raises(KernelConfigurationError, match=r"^NO_PROXY has an entry"):
        make()


@pytest.mark.parametrize("value", ["localhost, 127.0.0.1,::1,.example.com,10.0.0.0/8,", "a..b", ",", "*"])
def test_no_proxy_that_can_be_read_is_taken(make, monkeypatch, value):
    monkeypatch.setenv("NO_PROXY", value)
    make()


def test_no_proxy_for_all_hosts_makes_other_variables_matter_no_more(make, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("HTTPS_PROXY", "nonsense://")
    make()


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"])
def test_certificates_that_are_not_there_are_refused_by_the_name_of_their_variable(
    make, monkeypatch, tmp_path, name
):
    monkeypatch.setenv(name, str(tmp_path / "gone" / "file"))
    with pytest.raises(KernelConfigurationError, match=f"^{name} is "):
        make()


def test_certificates_of_the_connection_do_not_depend_on_the_environment(make, monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone"))
    make(verify_tls=False)
