"""The hook reads its connection once, and names it in every error."""

from __future__ import annotations

import pytest
import structlog
from airflow.sdk import BaseHook
from support.hook_keys import KEY

from airflow_provider_kernel.client.errors import (
    KernelConfigurationError,
)
from airflow_provider_kernel.client.retry import RetryPolicy
from airflow_provider_kernel.hooks.kernel import KernelHook


def test_hook_config_is_read_from_the_connection(connect):
    connect(host="http://127.0.0.1:8080", extra={"project": "shop", "max_attempts": 2})
    config = KernelHook("my_kernel").config
    assert (config.api_key, config.base_url, config.project) == (KEY, "http://127.0.0.1:8080", "shop")
    assert config.retry.max_attempts == 2


def test_hook_reads_its_connection_once_at_the_first_use(connect, monkeypatch):
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


def test_retry_of_the_hook_replaces_that_of_the_connection(connect):
    connect(extra={"max_attempts": 2, "project": "shop"})
    config = KernelHook("my_kernel", retry=RetryPolicy(max_attempts=9)).config
    assert config.retry == RetryPolicy(max_attempts=9)
    assert config.project == "shop"


async def test_hook_config_is_the_same_in_an_event_loop(connect):
    connect(host="http://127.0.0.1:8080", extra={"project": "shop", "verify_tls": False})
    assert await KernelHook("my_kernel").aget_config() == KernelHook("my_kernel").config
    policy = RetryPolicy(max_attempts=9)
    assert (await KernelHook("my_kernel", retry=policy).aget_config()).retry == policy


async def test_hook_reads_its_connection_once_in_an_event_loop(connect):
    connect()
    hook = KernelHook("my_kernel")
    config = await hook.aget_config()
    connect(host="http://127.0.0.1:1")
    assert await hook.aget_config() is config
    assert hook.config is config


def test_invalid_connection_is_named_in_the_error(connect):
    connect(host="x/y")
    with pytest.raises(KernelConfigurationError, match=r"Airflow connection 'my_kernel': The host 'x/y'"):
        _ = KernelHook("my_kernel").config


async def test_invalid_connection_is_named_in_the_error_in_an_event_loop(connect):
    connect(host="x/y")
    with pytest.raises(KernelConfigurationError, match=r"Airflow connection 'my_kernel': The host 'x/y'"):
        await KernelHook("my_kernel").aget_config()


@pytest.mark.parametrize(("conn_type", "count"), [("kernel", 0), (None, 0), ("http", 1)])
async def test_connection_of_another_type_is_used_with_one_warning(conn_type, count, connect):
    connect(host="http://127.0.0.1:1", conn_type=conn_type)
    hook = KernelHook("my_kernel")
    with structlog.testing.capture_logs() as lines:
        await hook.areload_config()
        await hook.areload_config()
    warnings = [line["event"] for line in lines if line["log_level"] == "warning"]
    assert len(warnings) == count
    assert all("is of type 'http'; its fields are read as those of a Kernel" in text for text in warnings)
