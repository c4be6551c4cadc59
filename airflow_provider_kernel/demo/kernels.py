"""What the demo sees of Kernel, emulated or real, independently of the tasks that it runs."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_kernel.api import flows, requests
from airflow_provider_kernel.api.client import KernelClient
from airflow_provider_kernel.api.config import KernelConfig
from airflow_provider_kernel.api.errors import KernelNotFoundError
from airflow_provider_kernel.api.models import FINAL_STATUSES, parse_json_leniently

if TYPE_CHECKING:
    from airflow_provider_kernel.api.models import Invocation
    from airflow_provider_kernel.testing import KernelEmulator


@dataclass(frozen=True)
class Seen:
    """
    An invocation, as it was at one look.

    :param id: its id.
    :param action: its action.
    :param statuses: the statuses it was seen in, in order.
    :param output: its output, parsed.
    :param awaited: whether the task that started it has gone on to wait for it.
    """

    id: str
    action: str
    statuses: tuple[str, ...]
    output: Any
    awaited: bool

    @property
    def status(self) -> str:
        """The last of its statuses."""
        return self.statuses[-1]

    @property
    def active(self) -> bool:
        """Whether it is not over."""
        return self.status not in FINAL_STATUSES


class Kernel(Protocol):
    """The invocations that exist since the demo began."""

    #: Seconds between two looks that do not bother it.
    interval: float

    def look(self) -> list[Seen]:
        """Look at all of them, oldest first."""

    def invoke(self, action: str) -> str:
        """
        Start an invocation, as somebody does who then waits for Airflow.

        :param action: its action.
        :return: its id.
        """

    def browsers(self, invocation_id: str) -> int:
        """
        Count an invocation's browsers.

        :param invocation_id: the invocation.
        """

    def cancel(self, invocation_id: str) -> None:
        """
        Cancel an invocation that should not have been left.

        :param invocation_id: the invocation.
        """


class EmulatedKernel:
    """
    The emulator, seen from inside.

    :param emulator: the emulator.
    """

    interval = 0.05

    def __init__(self, emulator: KernelEmulator) -> None:
        self._emulator = emulator

    def look(self) -> list[Seen]:
        """Look at all invocations, oldest first."""
        return [
            Seen(
                record.id,
                record.action_name,
                record.statuses,
                None if record.output is None else parse_json_leniently(record.output),
                awaited=bool(self._emulator.requests("GET", f"/invocations/{record.id}")),
            )
            for record in self._emulator.invocations
        ]

    def invoke(self, action: str) -> str:
        """
        Start an invocation, as somebody does who then waits for Airflow.

        :param action: its action.
        :return: its id.
        """
        with KernelClient(KernelConfig(self._emulator.api_key, self._emulator.base_url)) as client:
            return _invoke(client, "demo", action)

    def browsers(self, invocation_id: str) -> int:
        """
        Count an invocation's browsers.

        :param invocation_id: the invocation.
        """
        return self._emulator.invocation(invocation_id).browsers

    def cancel(self, invocation_id: str) -> None:
        """
        Cancel an invocation that should not have been left.

        :param invocation_id: the invocation.
        """
        with contextlib.suppress(ValueError):  # it has ended by itself meanwhile
            self._emulator.finish(invocation_id, "failed", {"error": "Left over by the demo"})


class LiveKernel:
    """
    The real Kernel, through the API.

    With a client of its own: the hook would look its connection up through the task that happens to be running.

    :param config: how to reach it.
    :param app_name: the app whose invocations are looked at.
    """

    interval = 1.0

    def __init__(self, config: KernelConfig, app_name: str) -> None:
        self._client = KernelClient(config)
        self._app_name = app_name
        self._statuses: dict[str, list[str]] = {}
        self._others: set[str] = set()

    def begin(self) -> None:
        """Note which invocations are not the demo's."""
        self._others = {invocation.id for invocation in self._recent()}

    def close(self) -> None:
        """Close the client."""
        self._client.close()

    def actions(self) -> set[str]:
        """List the actions of the app's version ``latest``, or of whatever versions it has."""
        versions = list(self._client.pages(requests.list_apps(app_name=self._app_name)))
        latest = [version for version in versions if version.version == "latest"] or versions
        return {action.name for version in latest for action in version.actions}

    def look(self) -> list[Seen]:
        """Look at all invocations, oldest first."""
        new = [invocation for invocation in self._recent() if invocation.id not in self._others]
        found: list[Seen] = []
        for invocation in sorted(new, key=lambda invocation: invocation.started_at or ""):
            statuses = self._statuses.setdefault(invocation.id, [])
            awaited = len(statuses) > 1 or "running" in statuses
            if invocation.status not in statuses:
                statuses.append(invocation.status)
            found.append(
                Seen(
                    invocation.id,
                    invocation.action_name or "?",
                    tuple(statuses),
                    invocation.parsed_output(),
                    awaited=awaited,
                )
            )
        return found

    def invoke(self, action: str) -> str:
        """
        Start an invocation, as somebody does who then waits for Airflow.

        :param action: its action.
        :return: its id.
        """
        return _invoke(self._client, self._app_name, action)

    def browsers(self, invocation_id: str) -> int:
        """
        Count an invocation's browsers.

        :param invocation_id: the invocation.
        """
        try:
            return len(self._client.send(requests.list_invocation_browsers(invocation_id)))
        except KernelNotFoundError:
            return 0

    def cancel(self, invocation_id: str) -> None:
        """
        Cancel an invocation that should not have been left.

        :param invocation_id: the invocation.
        """
        self._client.run(flows.cancel_invocation(invocation_id, "Left over by the demo"))

    def _recent(self) -> list[Invocation]:
        # This long ago by Kernel's clock; that of this machine may be wrong.
        return list(self._client.pages(requests.list_invocations(app_name=self._app_name, since="1h")))


def _invoke(client: KernelClient, app_name: str, action: str) -> str:
    # Within five minutes Airflow has answered, or never will.
    request = requests.create_invocation(app_name, action, async_timeout_seconds=300)
    return client.run(flows.start_invocation(request)).id
