"""
pytest fixtures for DAG tests.

Load them with `pytest_plugins = ["airflow_provider_kernel.testing.fixtures"]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_kernel.testing.emulator import KernelEmulator

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def kernel_emulator() -> Iterator[KernelEmulator]:
    """Start an emulator for the test."""
    with KernelEmulator() as emulator:
        yield emulator


@pytest.fixture
def kernel_connection(kernel_emulator: KernelEmulator, monkeypatch: pytest.MonkeyPatch) -> str:
    """Define the connection `kernel_default` to the emulator, and return its ID."""
    monkeypatch.setenv("AIRFLOW_CONN_KERNEL_DEFAULT", kernel_emulator.airflow_connection)
    return "kernel_default"
