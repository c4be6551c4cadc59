"""Where there is no connection, the hook takes the key from the environment."""

from __future__ import annotations

import pytest
from airflow._shared import secrets_masker as core_masker
from airflow.sdk._shared import secrets_masker as sdk_masker
from airflow.sdk.execution_time import comms
from support.hook_keys import KEY

from airflow_provider_kernel.client.errors import (
    KernelConfigurationError,
)
from airflow_provider_kernel.hooks.kernel import KernelHook


@pytest.fixture
def maskers():
    """Airflow's two maskers: that of the Task SDK, and that of the API server and the CLI."""
    maskers = [sdk_masker, core_masker]
    for masker in maskers:
        masker.reset_secrets_masker()
    yield maskers
    for masker in maskers:
        masker.reset_secrets_masker()


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("KERNEL_API_KEY", KEY)
    monkeypatch.setenv("KERNEL_BASE_URL", "http://127.0.0.1:8080")
    monkeypatch.setenv("KERNEL_PROJECT", "shop")


def test_hook_without_a_connection_uses_the_environment_and_logs_it(log):
    config = KernelHook().config
    assert (config.api_key, config.base_url, config.project) == (KEY, "http://127.0.0.1:8080", "shop")
    assert log == [
        (
            20,
            "There is no Airflow connection 'kernel_default'; using KERNEL_API_KEY of the environment for "
            "http://127.0.0.1:8080",
        )
    ]


async def test_hook_without_a_connection_uses_the_environment_in_an_event_loop(log):
    assert await KernelHook().aget_config() == KernelHook().config
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
        _ = KernelHook().config
    text = str(raised.value)
    assert text.startswith(
        "There is no Airflow connection 'kernel_default', and no KERNEL_API_KEY in the environment."
    )
    assert "airflow connections add kernel_default --conn-type kernel --conn-password" in text


async def test_hook_without_connection_and_key_is_an_error_in_an_event_loop(monkeypatch):
    monkeypatch.delenv("KERNEL_API_KEY")
    with pytest.raises(KernelConfigurationError, match="There is no Airflow connection 'kernel_default'"):
        await KernelHook().aget_config()


class TestMasking:
    """Airflow masks the passwords of connections. Of a key of the environment, it learns from the hook."""

    def test_key_of_the_environment_is_masked_in_every_kind_of_process(self, maskers, log):
        KernelHook().test_connection()
        assert [masker.redact(f"printed {KEY}") for masker in maskers] == ["printed ***"] * 2

    async def test_key_of_the_environment_is_masked_in_an_event_loop(self, maskers, log, supervisor):
        await KernelHook().aget_config()
        assert [masker.redact(f"printed {KEY}") for masker in maskers] == ["printed ***"] * 2
        # The triggerer's supervisor writes the logs.
        assert [KEY] in [message.value for message in supervisor.asked if isinstance(message, comms.MaskSecret)]

    def test_key_is_masked_although_it_makes_no_valid_configuration(self, maskers, log, monkeypatch):
        monkeypatch.setenv("KERNEL_BASE_URL", "x/y")
        with pytest.raises(KernelConfigurationError):
            _ = KernelHook().config
        assert [masker.redact(f"printed {KEY}") for masker in maskers] == ["printed ***"] * 2

    def test_key_of_a_connection_is_masked_without_the_line_break_behind_it(self, maskers, connect):
        connect(password=f"{KEY}\n")
        assert KernelHook("my_kernel").config.api_key == KEY
        assert [masker.redact(f"printed {KEY}") for masker in maskers] == ["printed ***"] * 2

    async def test_key_of_a_connection_that_airflow_masks_itself_costs_no_message(self, connect, supervisor):
        connect()
        await KernelHook("my_kernel").aget_config()
        assert [KEY] not in [message.value for message in supervisor.asked if isinstance(message, comms.MaskSecret)]
