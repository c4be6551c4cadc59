"""The cause of an error is shown in its traceback, so it must show neither the key nor foreign text."""

from __future__ import annotations

import traceback

import httpx
import pytest
from support.hostile_text import EVIL

from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.errors import KernelConnectionError
from airflow_provider_kernel.client.http.transport import Transport

KEY = "sk-very-secret"


@pytest.fixture
def errors():
    return Transport(KernelConfig(KEY), None).errors


def of_another(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "cause",
    [httpx.ReadError(KEY), of_another(httpx.ReadError("broken"), ValueError(KEY))],
    ids=["its own text", "that of its cause"],
)
def test_cause_that_shows_the_key_is_dropped(errors, cause):
    with pytest.raises(KernelConnectionError) as caught, errors():
        raise cause
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_cause_with_foreign_text_is_dropped(errors):
    with pytest.raises(KernelConnectionError) as caught, errors():
        raise httpx.RemoteProtocolError(EVIL)
    assert caught.value.__cause__ is None
    assert "INFO - Task succeeded" in str(caught.value)
    for line in traceback.format_exception(caught.value):
        assert EVIL not in line


def test_cause_that_does_not_show_the_key_is_kept(errors):
    with pytest.raises(KernelConnectionError) as caught, errors():
        raise httpx.ReadError("broken pipe")
    assert isinstance(caught.value.__cause__, httpx.ReadError)
