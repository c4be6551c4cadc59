"""A clock that a pause moves on at once, so that two minutes of an end take no time."""

from __future__ import annotations

import pkgutil
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

import tenacity
from support.histories.process import current

from airflow_provider_kernel import client, lifecycle, operators, owned
from airflow_provider_kernel.client import client as clients

if TYPE_CHECKING:
    import pytest

PACKAGE = "airflow_provider_kernel."
#: The deadlines of single exchanges stay real: those are with a real server.
REAL = ("airflow_provider_kernel.client.http.", "airflow_provider_kernel.testing")


class Clock:
    """In place of the module ``time``. A dead process does not move it for the others."""

    def __init__(self) -> None:
        self._moved = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def time(self) -> float:
        return time.time() + self._moved + current().lag

    def monotonic(self) -> float:
        return time.monotonic() + self._moved + current().lag

    def sleep(self, seconds: float) -> None:
        if current().is_dead():
            current().lag += seconds
        else:
            self._moved += seconds

    def shared(self) -> float:
        """Return the time of all processes that live."""
        return time.monotonic() + self._moved


CLOCK = Clock()


def install(patch: pytest.MonkeyPatch) -> None:
    """Make the package, and tenacity, go by the clock. A pause between two requests only moves it."""
    for room in (client, lifecycle, operators, owned):  # some modules are imported late
        for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            import_module(module.name)
    import_module("airflow_provider_kernel.triggers.invocation")
    for name, module in list(sys.modules.items()):
        is_of_package = name.startswith(PACKAGE) and not name.startswith(REAL)
        if is_of_package and getattr(module, "time", None) is time:
            patch.setattr(module, "time", CLOCK)
    patch.setattr(tenacity, "time", CLOCK)
    drive, adrive = clients._drive, clients._adrive

    def drive_without_pauses(flow, answer, sleep):
        def move(seconds):
            CLOCK.sleep(seconds)
            sleep(0.0)

        return drive(flow, answer, move)

    def adrive_without_pauses(flow, answer, sleep):
        async def move(seconds):
            CLOCK.sleep(seconds)
            await sleep(0.0)

        return adrive(flow, answer, move)

    patch.setattr(clients, "_drive", drive_without_pauses)
    patch.setattr(clients, "_adrive", adrive_without_pauses)
