"""Errors of a hook name the connection and the host; a mistake in the host is told like one."""

from __future__ import annotations

import pytest
from support.hook_keys import KEY

from airflow_provider_kernel.client.errors import KernelConfigurationError, KernelError
from airflow_provider_kernel.client.resources.apps import list_apps
from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.testing import Fault

ONCE = {"extra": {"max_attempts": 1}}


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 401, "body": {"code": "unauthorized", "message": "no"}},
        {"status": 404, "body": {"code": "not_found", "message": "no"}},
        {"status": 503, "body": "<html>Bad Gateway</html>"},
        {"status": 200, "body": "<html>Welcome</html>"},
        {"drop": "before"},
    ],
    ids=["401", "404", "503", "HTML", "cut"],
)
def test_every_error_names_connection_and_host(kernel, connect, fault):
    connect(host=kernel.base_url, **ONCE)
    kernel.add_fault(Fault("*", "*", None, **fault))
    with pytest.raises(KernelError) as caught, KernelHook("my_kernel") as hook:
        hook.get_invocation("abc")
    text = str(caught.value)
    assert f"connection 'my_kernel', {kernel.base_url})" in text
    assert KEY not in text


async def test_error_in_an_event_loop_names_connection_and_host(kernel, connect):
    connect(host=kernel.base_url, **ONCE)
    kernel.add_fault(Fault("*", "*", None, status=404, body={"code": "not_found", "message": "no"}))
    async with await KernelHook("my_kernel").get_async_conn() as client:
        with pytest.raises(KernelError, match="connection 'my_kernel', http") as caught:
            await client.send(list_apps())
    assert caught.value.destination.base_url == kernel.base_url


def test_certificates_that_cannot_be_read_name_the_connection(kernel, connect):
    connect(host=kernel.base_url, extra={"verify_tls": "/no/such.pem"})
    with pytest.raises(KernelConfigurationError, match="connection 'my_kernel'"):
        KernelHook("my_kernel").get_conn()


def test_error_with_the_key_of_the_environment_names_no_connection(kernel, monkeypatch):
    monkeypatch.setenv("KERNEL_API_KEY", KEY)
    monkeypatch.setenv("KERNEL_BASE_URL", kernel.base_url)
    kernel.add_fault(Fault("*", "*", None, status=404, body={"code": "not_found", "message": "no"}))
    with pytest.raises(KernelError) as caught, KernelHook() as hook:
        hook.get_invocation("abc")
    assert f", KERNEL_API_KEY, {kernel.base_url})" in str(caught.value)


def test_host_without_a_scheme_that_speaks_plain_http_is_told_what_to_write(kernel, connect):
    connect(host=kernel.base_url.removeprefix("http://"), **ONCE)
    with pytest.raises(KernelError, match="does not answer with TLS") as caught, KernelHook("my_kernel") as hook:
        hook.get_invocation("abc")
    assert str(caught.value).endswith(f"write {kernel.base_url} as the host of the Airflow connection")
    assert "CA bundle" not in str(caught.value)


def test_proxy_that_speaks_plain_http_behind_https_is_named_by_its_variable(kernel, connect, monkeypatch):
    proxy = kernel.base_url.removeprefix("http://")
    monkeypatch.setenv("https_proxy", f"https://me:secret@{proxy}")
    monkeypatch.setenv("no_proxy", "")
    connect(host="https://kernel.example.com", **ONCE)
    with pytest.raises(KernelError) as caught, KernelHook("my_kernel") as hook:
        hook.get_invocation("abc")
    assert str(caught.value).endswith(
        "https_proxy names a proxy with https://; if it speaks plain http, as most do, write http://"
    )
    assert "secret" not in str(caught.value)
