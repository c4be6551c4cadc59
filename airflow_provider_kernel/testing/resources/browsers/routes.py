"""The endpoints of ``/browsers``."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute

from airflow_provider_kernel.testing.errors import ApiError, invalid
from airflow_provider_kernel.testing.http import page, read_object
from airflow_provider_kernel.testing.resources.browsers.bodies import check_create, check_update
from airflow_provider_kernel.testing.resources.browsers.machine_routes import Command, MachineRoutes
from airflow_provider_kernel.testing.resources.browsers.relay import serve_devtools
from airflow_provider_kernel.testing.resources.browsers.store import SessionStore
from airflow_provider_kernel.testing.room import Room

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute
    from starlette.websockets import WebSocket

    from airflow_provider_kernel.testing.backend import Backend
    from airflow_provider_kernel.testing.resources.browsers.session import BrowserRecord, Session

_TAG = re.compile(r"tags\[(.+)\]")
_STATUSES = ("active", "deleted", "all")


class Browsers(Room):
    """
    Browser sessions.

    Behind each stands a real Chromium, if one is installed; it starts with the first connection or script.
    """

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self.store = SessionStore(backend)
        self._machines = MachineRoutes(self)

    def routes(self) -> list[BaseRoute]:
        """Return the endpoints."""
        return [
            Route("/browsers", self.create, methods=["POST"]),
            Route("/browsers", self.list_sessions, methods=["GET"]),
            Route("/browsers/{id}", self.retrieve, methods=["GET"]),
            Route("/browsers/{id}", self.update, methods=["PATCH"]),
            Route("/browsers/{id}", self.delete, methods=["DELETE"]),
            *self._machines.routes(),
            WebSocketRoute("/browser/{id}/cdp", self.devtools),
        ]

    @property
    def records(self) -> tuple[BrowserRecord, ...]:
        """A snapshot of every session, oldest first."""
        with self.backend.signal:
            return tuple(session.record() for session in self.store.sessions())

    def end(self, session_id: str, cause: str = "deleted") -> None:
        """
        End a session, as somebody else or its idle limit would.

        :param cause: `deleted` or `idle`.
        :raises KeyError: if there is no such session.
        """
        sessions = {session.id: session for session in self.store.sessions()}
        self.store.end(sessions[session_id], cause)

    def register_command(self, name: str, function: Command) -> None:
        """
        Let `process/exec` run a Python function as a command; the host's own commands are never run.

        :param function: takes the arguments; returns the exit code, or the output as text or bytes.
        """
        self._machines.commands[name] = function

    def places_in_use(self) -> int:
        """Return how many sessions are active."""
        return self.store.active_count()

    def stop(self) -> None:
        """End what runs in all sessions."""
        self.store.stop()

    def reset(self) -> None:
        """Forget all sessions."""
        self.store.clear()

    async def create(self, request: Request) -> Response:
        """Answer `POST /browsers`."""
        caller = self.caller(request)
        options = await self._body(request)
        check_create(options, refuse_unknown=self.backend.switches.unknown_fields_refused)
        session = self.store.create(caller.project.id, options)
        return self._answer(request, session)

    async def list_sessions(self, request: Request) -> Response:
        """Answer `GET /browsers`."""
        caller = self.caller(request)
        query = request.query_params
        status = query.get("status", "all" if query.get("include_deleted") == "true" else "active")
        if status not in _STATUSES:
            raise invalid(f"status must be one of {', '.join(_STATUSES)}")
        tags = {match[1]: value for key, value in query.multi_items() if (match := _TAG.fullmatch(key))}
        search = query.get("query", "").lower()

        def matches(session: Session) -> bool:
            profile = session.options.get("profile") or {}
            texts = (session.id, session.name or "", profile.get("name", ""), profile.get("id", ""))
            return (
                (status == "all" or session.is_active == (status == "active"))
                and tags.items() <= session.tags.items()
                and any(search in text.lower() for text in texts)
                and query.get("region") in (None, session.options.get("region", "us-east"))
            )

        found = self.store.listed(caller.project.id, matches)
        return page(request, [session.json(request.url.netloc) for session in found])

    async def retrieve(self, request: Request) -> Response:
        """Answer `GET /browsers/{id_or_name}`."""
        include_deleted = request.query_params.get("include_deleted") == "true"
        return self._answer(request, self.session(request, include_deleted=include_deleted))

    async def update(self, request: Request) -> Response:
        """Answer `PATCH /browsers/{id_or_name}`."""
        session = self.session(request)
        changes = await self._body(request)
        check_update(changes, refuse_unknown=self.backend.switches.unknown_fields_refused)
        with self.backend.signal:
            if changes.get("profile") and session.options.get("profile"):
                raise invalid("the session has a profile already")
            if changes.get("name") is not None:
                self.store.change_name(session, changes["name"])
            if changes.get("tags") is not None:
                session.tags = dict(changes["tags"])
            if "start_url" in changes:
                session.start_url = changes["start_url"]
            kept = {key: changes[key] for key in ("proxy", "profile", "viewport", "network") if changes.get(key)}
            session.options = {**session.options, **kept}
        return self._answer(request, session)

    async def delete(self, request: Request) -> Response:
        """Answer `DELETE /browsers/{id_or_name}`."""
        session = self.session(request)
        ended = await asyncio.to_thread(self.store.end, session, "deleted")
        if not ended:
            raise ApiError(404, self.backend.switches.not_found_code, "browser session not found")
        if (session.options.get("profile") or {}).get("save_changes"):
            await asyncio.sleep(self.backend.clock.real(self.backend.switches.profile_save_seconds) or 0.0)
        return Response(status_code=204)

    async def devtools(self, websocket: WebSocket) -> None:
        """Serve a connection to the browser of a session."""
        await serve_devtools(websocket, self.store)

    def session(self, request: Request, *, include_deleted: bool = False) -> Session:
        """
        Return the session of a request.

        :raises ApiError: 401, 403 or 404.
        """
        project = self.caller(request).project.id
        return self.store.find(project, request.path_params["id"], include_deleted=include_deleted)

    def _answer(self, request: Request, session: Session) -> Response:
        with self.backend.signal:
            return JSONResponse(session.json(request.url.netloc))

    async def _body(self, request: Request) -> dict[str, Any]:
        if not await request.body():
            return {}
        return await read_object(request, (), refuse_unknown=False)
