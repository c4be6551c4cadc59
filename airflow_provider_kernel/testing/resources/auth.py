"""``/auth``: the key that a request was sent with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from airflow_provider_kernel.testing.room import Room

if TYPE_CHECKING:
    from starlette.requests import Request


class Auth(Room):
    """The key's identity and scope."""

    def routes(self) -> list[Route]:
        """Return the endpoints."""
        return [Route("/auth/context", self.retrieve_context, methods=["GET"])]

    async def retrieve_context(self, request: Request) -> Response:
        """Answer `GET /auth/context`."""
        caller = self.caller(request)
        scope = None if caller.key_project is None else caller.key_project.id
        return JSONResponse(
            {
                "authentication": {
                    "method": "api_key",
                    "source": "api_key",
                    "credential_id": caller.credential_id,
                },
                "principal": {"type": "api_key", "id": caller.credential_id},
                "organization": {"id": "org_emulator"},
                "authorization": {
                    "credential_scope": {"project_id": scope},
                    "effective_scope": {"project_id": caller.project.id},
                },
            }
        )
