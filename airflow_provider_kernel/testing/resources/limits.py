"""``/org/limits``: the organisation's limits, and their use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from airflow_provider_kernel.testing.room import Room

if TYPE_CHECKING:
    from starlette.requests import Request

    from airflow_provider_kernel.testing.backend import Backend


class Limits(Room):
    """
    The organisation's limits; by default those of Kernel's smallest plan.

    Tests set the attributes: `kernel.room(Limits).max_concurrent_sessions = 1`.
    """

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self.max_concurrent_sessions = 5
        #: Beside the sessions of this emulator. None: the use cannot be read.
        self.concurrent_sessions_used: int | None = 0
        #: None: projects have no limit of their own.
        self.default_project_max_concurrent_sessions: int | None = None
        #: None: unlimited.
        self.max_auth_connections: int | None = 3
        self.auth_connections_used = 0
        #: None: unlimited.
        self.max_vaults: int | None = None
        self.vaults_used = 0
        self.min_health_check_interval_seconds = 21_600

    def routes(self) -> list[Route]:
        """Return the endpoints."""
        return [Route("/org/limits", self.retrieve, methods=["GET"])]

    async def retrieve(self, request: Request) -> Response:
        """Answer `GET /org/limits`."""
        self.caller(request)
        return JSONResponse(self.json())

    @property
    def used(self) -> int | None:
        """How many sessions are in use, those of this emulator and the others; None: it cannot be read."""
        if self.concurrent_sessions_used is None:
            return None
        return self.concurrent_sessions_used + sum(room.places_in_use() for room in self.backend.rooms)

    def json(self) -> dict[str, Any]:
        """Return the `OrgLimits`."""
        used = self.used
        return {
            "max_concurrent_sessions": self.max_concurrent_sessions,
            "concurrent_sessions_used": used,
            "concurrent_sessions_available": None if used is None else max(0, self.max_concurrent_sessions - used),
            "default_project_max_concurrent_sessions": self.default_project_max_concurrent_sessions,
            "max_auth_connections": self.max_auth_connections,
            "auth_connections_used": self.auth_connections_used,
            "max_vaults": self.max_vaults,
            "vaults_used": self.vaults_used,
            "min_health_check_interval_seconds": self.min_health_check_interval_seconds,
        }
