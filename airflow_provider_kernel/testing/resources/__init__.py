"""The emulated resources, one room each. A new resource is a new module here and a line in the list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_kernel.testing.resources.apps import Apps
from airflow_provider_kernel.testing.resources.auth import Auth
from airflow_provider_kernel.testing.resources.browsers import Browsers
from airflow_provider_kernel.testing.resources.invocations import Invocations
from airflow_provider_kernel.testing.resources.limits import Limits

if TYPE_CHECKING:
    from airflow_provider_kernel.testing.room import Room

ROOMS: tuple[type[Room], ...] = (
    Apps,
    Auth,
    Browsers,
    Invocations,
    Limits,
)
