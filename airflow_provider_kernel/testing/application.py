"""The ASGI application: the endpoints of all rooms, and error answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from airflow_provider_kernel.testing.errors import ApiError, code_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from airflow_provider_kernel.testing.backend import Backend


def build_app(backend: Backend) -> Starlette:
    """Return the application."""

    async def answer_http_exception(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        message = f"The emulator has no {request.method} {request.url.path}"
        headers = {"Allow": ", ".join(sorted(_methods_of(request)))} if status == 405 else None
        body = {"code": code_of(status, backend.switches), "message": message}
        return JSONResponse(body, status_code=status, headers=headers)

    return Starlette(
        routes=[route for room in backend.rooms for route in room.routes()],
        exception_handlers={ApiError: _answer_api_error, HTTPException: answer_http_exception},
    )


async def _answer_api_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, ApiError):
        raise error
    return JSONResponse(error.body(), status_code=error.status, headers=error.headers)


def _methods_of(request: Request) -> set[str]:
    """Return the methods of a path; each method is a route of its own."""
    return {
        method
        for route in request.app.routes
        if route.matches(request.scope)[0] is not Match.NONE
        for method in getattr(route, "methods", None) or ()
    }
