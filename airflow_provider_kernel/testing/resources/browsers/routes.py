"""The endpoints of ``/browsers``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute

from airflow_provider_kernel.testing.errors import invalid
from airflow_provider_kernel.testing.http import page, read_object
from airflow_provider_kernel.testing.resources.browsers import bodies
from airflow_provider_kernel.testing.resources.browsers.machine_routes import MachineRoutes
from airflow_provider_kernel.testing.resources.browsers.record import BrowserRecord, most_browsers_at_once
from airflow_provider_kernel.testing.resources.browsers.relay import serve_devtools
from airflow_provider_kernel.testing.resources.browsers.replays import Replays
from airflow_provider_kernel.testing.resources.browsers.store import SessionStore
from airflow_provider_kernel.testing.room import Room
from airflow_provider_kernel.testing.threads import in_thread

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute
    from starlette.websockets import WebSocket

    from airflow_provider_kernel.testing.backend import Backend
    from airflow_provider_kernel.testing.resources.browsers.processes import Command
    from airflow_provider_kernel.testing.resources.browsers.record import EndCause
    from airflow_provider_kernel.testing.resources.browsers.session import Session

_STATUSES = ("active", "deleted", "all")
_TAG = re.compile(r"tags\[(.*)\]", re.DOTALL)


class Browsers(Room):
    """
    Browser sessions.

    Behind each stands a real Chromium, if one is installed; it starts with the first connection or script. The
    limit of sessions is that of the room `Limits`: `kernel.room(Limits).max_concurrent_sessions = 1`.
    """

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self.store = SessionStore(backend)
        self._machines = MachineRoutes(self)
        self._replays = Replays(self)

    def routes(self) -> list[BaseRoute]:
        """Return the endpoints."""
        return [
            Route("/browsers", self.create, methods=["POST"]),
            Route("/browsers", self.list_sessions, methods=["GET"]),
            Route("/browsers/{id}", self.retrieve, methods=["GET"]),
            Route("/browsers/{id}", self.update, methods=["PATCH"]),
            Route("/browsers/{id}", self.delete, methods=["DELETE"]),
            *self._machines.routes(),
            *self._replays.routes(),
            WebSocketRoute("/browser/{id}/cdp", self.devtools),
        ]

    # Set-up and looking, for tests

    @property
    def records(self) -> tuple[BrowserRecord, ...]:
        """A snapshot of every session, oldest first."""
        with self.backend.signal:
            return tuple(session.record() for session in self.store.sessions())

    def end(self, session_id: str, cause: EndCause = "deleted") -> None:
        """
        End a session, as somebody else or its idle limit would.

        :param cause: what `BrowserRecord.end_cause` is to say.
        :raises KeyError: if there is no such session.
        """
        self.store.end(self.store.get(session_id), cause)

    def cut_connections(self, session_id: str) -> None:
        """Close the DevTools connections of a session, as Kernel does with long ones; the session goes on."""
        self.store.close_connections(self.store.get(session_id))

    def register_command(self, name: str, function: Command) -> None:
        """
        Let `process/exec` run a Python function as a command; the host's own commands are never run.

        :param function: takes the arguments, a list, or the arguments and a `CommandContext`. It returns the exit
            code; or the standard output, text or bytes; or a tuple of exit code, standard output and standard
            error. An exception is an exit code of 1, with its text in standard error.
        """
        self._machines.commands[name] = function

    def most_active_at_once(self) -> int:
        """Return the largest number of sessions that were active at the same time."""
        return most_browsers_at_once(self.records)

    # What the emulator calls

    def places_in_use(self) -> int:
        """Return how many sessions hold a place of the organisation."""
        return self.store.in_use_count()

    def stop(self) -> None:
        """End what runs in all sessions; the sessions stay."""
        self.store.stop()

    def reset(self) -> None:
        """End and forget all sessions."""
        self.store.clear()
        self._replays.clear()

    # Endpoints

    async def create(self, request: Request) -> Response:
        """Answer `POST /browsers`."""
        caller = self.caller(request)
        body = await self._body(request, bodies.CREATE)
        bodies.check_create("", body)
        if "proxy" in body and "proxy_id" in body:
            raise invalid("Give either proxy or proxy_id")
        return self._answer(request, self.store.create(caller.project.id, body, request.url.netloc))

    async def list_sessions(self, request: Request) -> Response:
        """Answer `GET /browsers`."""
        caller = self.caller(request)
        query = request.query_params
        status = query.get("status", "all" if _flag(request, "include_deleted") else "active")
        if status not in _STATUSES:
            raise invalid(f"status must be one of {', '.join(_STATUSES)}")
        region = query.get("region")
        if region is not None and region not in bodies.REGIONS:
            raise invalid(f"region must be one of {', '.join(bodies.REGIONS)}")
        tags = _tags(request)
        search = query.get("query", "").lower()
        with self.backend.signal:
            rows = [
                session.json(request.url.netloc, usage_pending=self.store.usage_pending(session))
                for session, active in self.store.listed()
                if session.project_id == caller.project.id
                and status in ("all", "active" if active else "deleted")
                and region in (None, session.options.get("region", "us-east"))
                and all(session.tags.get(key) == value for key, value in tags.items())
                and any(search in text.lower() for text in _searched(session))
            ]
        if self.backend.switches.list_order == "newest":
            rows.reverse()
        return page(request, rows)

    async def retrieve(self, request: Request) -> Response:
        """Answer `GET /browsers/{id_or_name}`."""
        include_deleted = _flag(request, "include_deleted")
        return self._answer(request, self.session(request, include_deleted=include_deleted))

    async def update(self, request: Request) -> Response:
        """Answer `PATCH /browsers/{id_or_name}`."""
        session = self.session(request)
        if not await request.body():
            raise invalid("A body is required")
        body = await self._body(request, bodies.UPDATE)
        bodies.check_update("", body)
        if "profile" in body and session.profile is not None:
            raise invalid("profile: the session has a profile already; it cannot be replaced")
        with self.backend.signal:
            if "name" in body:
                self.store.rename(session, body["name"])
            if "tags" in body:
                session.tags = dict(body["tags"] or {})
            if "profile" in body:
                self.store.load_profile(session, body["profile"])
            for name in ("proxy", "start_url"):
                if name in body:
                    session.shown[name] = body[name]
            if "allowed_hosts" in body.get("network", {}):
                session.set_allowed_hosts(body["network"]["allowed_hosts"])
            if "viewport" in body:
                session.shown["viewport"] = {k: v for k, v in body["viewport"].items() if k != "force"}
            self.backend.signal.notify()
        return self._answer(request, session)

    async def delete(self, request: Request) -> Response:
        """Answer `DELETE /browsers/{id_or_name}`."""
        session = self.session(request)
        if not self.store.end(session, "deleted"):
            raise self.store.absent()
        await in_thread(lambda: self.store.wait_for_teardown(session), "delete")
        await self.store.wait_for_save(session)
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
            usage_pending = self.store.usage_pending(session)
            return JSONResponse(session.json(request.url.netloc, usage_pending=usage_pending))

    async def _body(self, request: Request, known: dict[str, Any]) -> dict[str, Any]:
        if not await request.body():
            return {}
        return await read_object(request, tuple(known), refuse_unknown=self.backend.switches.unknown_fields_refused)


def _searched(session: Session) -> list[str]:
    profile, proxy = session.profile or {}, session.shown.get("proxy", {})
    texts = (session.id, session.name, profile.get("id"), profile.get("name"), proxy.get("id"))
    return [text for text in texts if text]


def _tags(request: Request) -> dict[str, str]:
    """Read the query parameters `tags[key]=value`."""
    tags: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        match = _TAG.fullmatch(name)
        if match and match[1] not in tags:
            tags[match[1]] = value
        elif match or name == "tags":
            raise invalid("tags must be given as tags[key]=value, each key once")
    return tags


def _flag(request: Request, name: str) -> bool:
    text = request.query_params.get(name, "false")
    if text not in ("true", "false"):
        raise invalid(f"{name} must be true or false")
    return text == "true"
