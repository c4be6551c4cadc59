"""The emulated Kernel behind the HTTP layer: the shared parts, and the rooms of the resources."""

from __future__ import annotations

import secrets
import string
from typing import TYPE_CHECKING, TypeVar, cast

from airflow_provider_kernel.testing.clock import Clock
from airflow_provider_kernel.testing.projects import Projects
from airflow_provider_kernel.testing.signals import Signal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_kernel.testing.room import Room
    from airflow_provider_kernel.testing.settings import Switches

_Room = TypeVar("_Room", bound="Room")
_ID_CHARACTERS = string.ascii_lowercase + string.digits


class Backend:
    """
    Clock, projects and keys, switches, and one room for each resource.

    :param api_key: the org-wide key.
    :param switches: behaviour where Kernel's documentation is silent.
    :param time_scale: emulated seconds in a real second.
    :param rooms: the resources.
    """

    def __init__(self, api_key: str, switches: Switches, time_scale: float, rooms: Iterable[type[Room]]) -> None:
        self.switches = switches
        self.clock = Clock(time_scale)
        self.projects = Projects(api_key)
        #: Lock over the state of all rooms, notified of each change.
        self.signal = Signal()
        self._kinds = tuple(rooms)
        self._rooms: dict[type[Room], Room] = {}
        for kind in self._kinds:
            self.room(kind)

    @property
    def rooms(self) -> list[Room]:
        """All rooms."""
        return list(self._rooms.values())

    def room(self, kind: type[_Room]) -> _Room:
        """
        Return the room of a resource, created on first use: a room may need another one.

        :raises LookupError: if the emulator does not have this resource.
        """
        if kind not in self._kinds:
            raise LookupError(
                f"the emulator has no {kind.__name__}; add it to ROOMS in testing/resources/__init__.py"
            )
        if kind not in self._rooms:
            self._rooms[kind] = kind(self)
        return cast("_Room", self._rooms[kind])


def new_id() -> str:
    """Return an ID of Kernel's shape."""
    return "".join(secrets.choice(_ID_CHARACTERS) for _ in range(24))
