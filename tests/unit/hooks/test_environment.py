"""Where there is no connection, the hook takes the key from the environment."""

from __future__ import annotations

import pytest
from support.hook_keys import KEY

from airflow_provider_kernel.client.errors import (
    KernelConfigurationError,
)
from airflow_provider_kernel.hooks.kernel import KernelHook


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("KERNEL_API_KEY", KEY)
    monkeypatch.setenv("KERNEL_BASE_URL", "http://127.0.0.1:8080")
    monkeypatch.setenv("KERNEL_PROJECT", "shop")


def test_hook_without_a_connection_uses_the_environment_and_logs_it(log):
    config = KernelHook("nowhere").config
    assert (config.api_key, config.base_url, config.project) == (KEY, "http://127.0.0.1:8080", "shop")
    assert log == [
        (
            20,
            "There is no Airflow connection 'nowhere'; using KERNEL_API_KEY of the environment for "
            "http://127.0.0.1:8080",
        )
    ]


async def test_hook_without_a_connection_uses_the_environment_in_an_event_loop(log):
    assert await KernelHook("nowhere").aget_config() == KernelHook("nowhere").config
    assert len(log) == 2


def test_connection_takes_precedence_over_the_environment(connect, log):
    connect("kernel_default", password="sk-of-the-connection")
    config = KernelHook().config
    assert config.api_key == "sk-of-the-connection"
    assert (config.base_url, config.project) == ("https://api.onkernel.com", None)
    assert log == []


def test_connection_without_a_key_is_an_error_despite_the_environment(connect):
    connect(password="")
    with pytest.raises(KernelConfigurationError, match="'my_kernel': There is no API key"):
        _ = KernelHook("my_kernel").config


def test_error_without_connection_and_key_says_how_to_create_one(monkeypatch):
    monkeypatch.delenv("KERNEL_API_KEY")
    with pytest.raises(KernelConfigurationError) as raised:
        _ = KernelHook("nowhere").config
    text = str(raised.value)
    assert text.startswith("There is no Airflow connection 'nowhere', and no KERNEL_API_KEY in the environment.")
    assert "airflow connections add nowhere --conn-type kernel --conn-password" in text


async def test_hook_without_connection_and_key_is_an_error_in_an_event_loop(monkeypatch):
    monkeypatch.delenv("KERNEL_API_KEY")
    with pytest.raises(KernelConfigurationError, match="There is no Airflow connection 'nowhere'"):
        await KernelHook("nowhere").aget_config()
