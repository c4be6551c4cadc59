"""One emulator for each module, and the connection to it."""

from __future__ import annotations

import json

import pytest
from support.hook_keys import KEY, PROJECT_KEY

from airflow_provider_kernel.hooks.kernel import KernelHook
from airflow_provider_kernel.testing import KernelEmulator


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
