"""The demo's view of the emulated Kernel, independent of the tasks that it runs."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_kernel.client.client import KernelClient
from airflow_provider_kernel.client.config import KernelConfig
from airflow_provider_kernel.client.json_encoding import parse_json_leniently
from airflow_provider_kernel.client.resources.invocations import flows, requests
from airflow_provider_kernel.client.resources.invocations.status import FINAL_STATUSES

if TYPE_CHECKING:
    from airflow_provider_kernel.testing import KernelEmulator
    from airflow_provider_kernel.testing.resources.browsers.record import BrowserRecord


@dataclass(frozen=True)
class ObservedInvocation:
    """
    An invocation at the time of one poll.

    :param id: invocation ID.
    :param action: the action's name.
    :param statuses: every status it has had, in order.
    :param output: its output, parsed.
    :param awaited: whether a task has polled it since it started.
    """

    id: str
    action: str
    statuses: tuple[str, ...]
    output: Any
    awaited: bool

    @property
    def status(self) -> str:
        """The current status."""
        return self.statuses[-1]

    @property
    def active(self) -> bool:
        """Whether it has not ended."""
        return self.status not in FINAL_STATUSES


class DemoKernel:
    """
    The emulator, observed from inside its process.

    :param emulator: the running emulator.
    """

    def __init__(self, emulator: KernelEmulator) -> None:
        self._emulator = emulator

    def poll(self) -> list[ObservedInvocation]:
        """Return all invocations, oldest first."""
        return [
            ObservedInvocation(
                record.id,
                record.action_name,
                record.statuses,
                None if record.output is None else parse_json_leniently(record.output),
                awaited=bool(self._emulator.requests("GET", f"/invocations/{record.id}")),
            )
            for record in self._emulator.invocations
        ]

    def browsers(self) -> tuple[BrowserRecord, ...]:
        """Return all browsers that tasks have started, oldest first."""
        return self._emulator.browsers

    def invoke(self, action: str) -> str:
        """
        Start an invocation outside Airflow, as a caller that waits for a DAG run does.

        :return: its ID.
        """
        # If no task answers, Kernel ends it after five minutes.
        request = requests.create_invocation("demo", action, async_timeout_seconds=300)
        with KernelClient(KernelConfig(self._emulator.api_key, self._emulator.base_url)) as client:
            return client.run(flows.start_invocation(request)).id

    def count_browsers(self, invocation_id: str) -> int:
        """Return the number of open browsers of an invocation."""
        return self._emulator.invocation(invocation_id).browsers

    def cancel(self, invocation_id: str) -> None:
        """End an invocation that should have been ended by its task."""
        with contextlib.suppress(ValueError):  # it ended in the meantime
            self._emulator.finish(invocation_id, "failed", {"error": "Left over by the demo"})
