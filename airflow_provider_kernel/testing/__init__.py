"""An emulated Kernel API on loopback, for tests and demos."""

from __future__ import annotations

from airflow_provider_kernel.emulator_extra import require_emulator_extra

require_emulator_extra()

from airflow_provider_kernel.testing.emulator import KernelEmulator
from airflow_provider_kernel.testing.faults import Fault
from airflow_provider_kernel.testing.journal import RecordedRequest
from airflow_provider_kernel.testing.outages import Outage
from airflow_provider_kernel.testing.projects import Project
from airflow_provider_kernel.testing.resources.browsers.record import BrowserRecord
from airflow_provider_kernel.testing.resources.invocations.actions import (
    ActionContext,
    ActionError,
    InvocationEndedError,
)
from airflow_provider_kernel.testing.resources.invocations.record import InvocationRecord
from airflow_provider_kernel.testing.serve import run_emulator
from airflow_provider_kernel.testing.settings import PAYLOAD_4_5_MB, PAYLOAD_64_KB, Switches

__all__ = [
    "KernelEmulator",
    "Switches",
    "Fault",
    "Outage",
    "RecordedRequest",
    "InvocationRecord",
    "BrowserRecord",
    "ActionContext",
    "ActionError",
    "InvocationEndedError",
    "Project",
    "PAYLOAD_4_5_MB",
    "PAYLOAD_64_KB",
    "run_emulator",
]
