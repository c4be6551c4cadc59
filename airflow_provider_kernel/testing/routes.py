"""Kernel's endpoints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route

from airflow_provider_kernel.testing.errors import ApiError, code_of, invalid
from airflow_provider_kernel.testing.events import EventStream
from airflow_provider_kernel.testing.state import FINAL, STATUSES
from airflow_provider_kernel.testing.times import parse_since

if TYPE_CHECKING:
    from starlette.requests import Request

    from airflow_provider_kernel.testing.platform import Platform
    from airflow_provider_kernel.testing.projects import Caller
    from airflow_provider_kernel.testing.state import Run

_CREATE_FIELDS = ("app_name", "action_name", "version", "payload", "async", "async_timeout_seconds")
_PATCH_FIELDS = ("status", "output")


def build_app(platform: Platform) -> Starlette:
    """Return the ASGI application."""
    api = _Api(platform)
    return Starlette(
        routes=[
            Route("/invocations", api.create, methods=["POST"]),
            Route("/invocations", api.list_invocations, methods=["GET"]),
            Route("/invocations/{id}", api.retrieve, methods=["GET"]),
            Route("/invocations/{id}", api.update, methods=["PATCH"]),
            Route("/invocations/{id}/browsers", api.list_browsers, methods=["GET"]),
            Route("/invocations/{id}/browsers", api.delete_browsers, methods=["DELETE"]),
            Route("/invocations/{id}/events", api.follow, methods=["GET"]),
            Route("/apps", api.list_apps, methods=["GET"]),
            Route("/auth/context", api.auth_context, methods=["GET"]),
        ],
        exception_handlers={ApiError: _refuse, HTTPException: api.refuse_route},
    )


class _Api:
    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._store = platform.store

    async def create(self, request: Request) -> Response:
        caller = self._caller(request)
        body = await self._body(request, _CREATE_FIELDS)
        for name in ("app_name", "action_name", "version"):
            if name not in body:
                raise invalid(f"Missing required field: {name}")
            if not isinstance(body[name], str) or not body[name]:
                raise invalid(f"{name} must be a string that is not empty")
        payload = self._payload(body)
        timeout = _async_timeout(body)
        run = self._platform.invoke(
            caller.project.id, body["app_name"], body["version"], body["action_name"], payload, timeout
        )
        # The answer is always `queued`, however soon the run starts.
        queued = {"id": run.id, "action_name": run.action_name, "status": "queued"}
        return JSONResponse(queued, status_code=202)

    async def list_invocations(self, request: Request) -> Response:
        caller = self._caller(request)
        query = request.query_params
        status = query.get("status")
        if status is not None and status not in STATUSES:
            raise invalid(f"status must be one of {', '.join(STATUSES)}")
        since = self._since(request)
        search = query.get("query", "").lower()

        def fits(run: Run) -> bool:
            return (
                run.project_id == caller.project.id
                and query.get("app_name") in (None, run.app.app_name)
                and query.get("version") in (None, run.app.version, run.version)
                and query.get("action_name") in (None, run.action_name)
                and query.get("deployment_id") in (None, run.app.deployment_id)
                and status in (None, run.status)
                and self._store.since(run.started, since)
                and any(search in name.lower() for name in (run.id, run.app.app_name, run.action_name))
            )

        with self._store.signal:
            rows = [run.json() for run in self._store.runs() if fits(run)]
        if self._platform.switches.list_order == "newest":
            rows.reverse()
        return _page(request, rows)

    async def retrieve(self, request: Request) -> Response:
        return self._invocation(self._run(request))

    async def update(self, request: Request) -> Response:
        run = self._run(request)
        body = await self._body(request, _PATCH_FIELDS)
        if "status" not in body:
            raise invalid("Missing required field: status")
        if body["status"] not in FINAL:
            raise invalid(f"status must be one of {', '.join(FINAL)}")
        output = body.get("output")
        if "output" in body and not isinstance(output, str):
            raise invalid("output must be a string that holds JSON")
        if output is not None and self._platform.switches.patch_output_must_be_json and not _is_json(output):
            raise invalid("output is not JSON")
        self._platform.update(run, body["status"], output)
        return self._invocation(run)

    async def list_browsers(self, request: Request) -> Response:
        run = self._run(request)
        with self._store.signal:
            return JSONResponse({"browsers": list(run.browsers)})

    async def delete_browsers(self, request: Request) -> Response:
        self._store.end_browsers(self._run(request))
        return Response(status_code=204)

    async def follow(self, request: Request) -> Response:
        run = self._run(request)
        return EventStream(self._store, self._platform.clock, run, self._since(request))

    async def list_apps(self, request: Request) -> Response:
        self._caller(request)
        query = request.query_params
        rows = self._platform.apps.rows(query.get("app_name"), query.get("version"), query.get("query"))
        return _page(request, rows)

    async def auth_context(self, request: Request) -> Response:
        caller = self._caller(request)
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

    async def refuse_route(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        message = f"The emulator has no {request.method} {request.url.path}"
        headers = {"Allow": ", ".join(sorted(_methods_of(request)))} if status == 405 else None
        return JSONResponse(
            {"code": code_of(status, self._platform.switches), "message": message},
            status_code=status,
            headers=headers,
        )

    def _caller(self, request: Request) -> Caller:
        return self._platform.projects.authenticate(
            request.headers.get("authorization"),
            request.headers.get("x-kernel-project-id"),
            request.headers.get("x-kernel-project"),
            self._platform.switches,
        )

    def _run(self, request: Request) -> Run:
        return self._store.find(self._caller(request).project.id, request.path_params["id"])

    def _invocation(self, run: Run) -> Response:
        with self._store.signal:
            return JSONResponse(run.json())

    def _since(self, request: Request) -> int | None:
        text = request.query_params.get("since")
        if text is None:
            return None
        try:
            return parse_since(text, self._platform.clock.now())
        except ValueError as error:
            raise invalid(f"since: {error}") from error

    async def _body(self, request: Request, fields: tuple[str, ...]) -> dict[str, Any]:
        try:
            body = json.loads(await request.body())
            json.dumps(body, ensure_ascii=False).encode()  # an unpaired surrogate could not be sent back
        except ValueError as error:
            raise invalid(f"The body is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise invalid("The body must be a JSON object")
        unknown = sorted(body.keys() - set(fields))
        if unknown and self._platform.switches.unknown_fields_refused:
            raise invalid(f"Unknown field: {', '.join(unknown)}; there are {', '.join(fields)}")
        return body

    def _payload(self, body: dict[str, Any]) -> str | None:
        if "payload" not in body:
            return None
        payload = body["payload"]
        if not isinstance(payload, str):
            raise invalid("payload must be a string that holds JSON")
        limit = self._platform.switches.payload_limit_bytes
        size = len(payload.encode())
        if size > limit:
            raise invalid(f"payload has {size} bytes; the limit is {limit}")
        if payload and self._platform.switches.payload_must_be_json and not _is_json(payload):
            raise invalid("payload is not JSON")
        return payload


def _methods_of(request: Request) -> set[str]:
    """Name the methods that a path has, which are spread over routes."""
    return {
        method
        for route in request.app.routes
        if route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods
    }


def _async_timeout(body: dict[str, Any]) -> int:
    if not isinstance(body.get("async", False), bool):
        raise invalid("async must be true or false")
    if not body.get("async", False):
        raise invalid("async must be true: the emulator has no synchronous invocations")
    seconds = body.get("async_timeout_seconds", 900)
    # To JSON, 60.0 is a whole number too.
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds not in range(10, 3601):
        raise invalid("async_timeout_seconds must be a whole number from 10 to 3600")
    return int(seconds)


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_no_constant)
    except ValueError:
        return False
    return True


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _number(request: Request, name: str, default: int, least: int, most: int | None) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or int(text) < least or (most is not None and int(text) > most):
        bounds = f"from {least} to {most}" if most is not None else f"of at least {least}"
        raise invalid(f"{name} must be a whole number {bounds}")
    return int(text)


def _page(request: Request, rows: list[dict[str, Any]]) -> Response:
    limit = _number(request, "limit", 20, 1, 100)
    offset = _number(request, "offset", 0, 0, None)
    more = len(rows) > offset + limit
    headers = {
        "X-Limit": str(limit),
        "X-Offset": str(offset),
        "X-Has-More": "true" if more else "false",
        "X-Next-Offset": str(offset + limit if more else 0),
    }
    return JSONResponse(rows[offset : offset + limit], headers=headers)


async def _refuse(_: Request, error: Exception) -> Response:
    if not isinstance(error, ApiError):
        raise error
    return JSONResponse(error.body(), status_code=error.status, headers=error.headers)
