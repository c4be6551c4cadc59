"""Recordings of sessions: each is the same small MP4 file, and can be had after the end of its session."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from airflow_provider_kernel.testing.backend import new_id
from airflow_provider_kernel.testing.clock import format_time
from airflow_provider_kernel.testing.errors import ApiError, invalid
from airflow_provider_kernel.testing.http import read_object
from airflow_provider_kernel.testing.resources.browsers.pictures import MP4
from airflow_provider_kernel.testing.shapes import Check, boolean, fields, whole

if TYPE_CHECKING:
    from starlette.requests import Request

    from airflow_provider_kernel.testing.resources.browsers.routes import Browsers
    from airflow_provider_kernel.testing.resources.browsers.session import Session

_FIELDS: dict[str, Check] = {
    "framerate": whole(1, 60),
    "max_duration_in_seconds": whole(1),
    "record_audio": boolean,
}


@dataclass
class _Replay:
    session: Session
    id: str
    started: int
    finished: int | None = None
    ready_at: float = float("inf")

    @property
    def is_running(self) -> bool:
        return self.finished is None and self.session.is_active

    def json(self, netloc: str) -> dict[str, Any]:
        token = self.session.token
        return {
            "replay_id": self.id,
            "started_at": format_time(self.started),
            "finished_at": None if self.finished is None else format_time(self.finished),
            "replay_view_url": f"http://{netloc}/browser/replays?jwt={token}&replay_id={self.id}",
        }


class Replays:
    """
    All recordings.

    :param room: the room of the sessions.
    """

    def __init__(self, room: Browsers) -> None:
        self._room = room
        self._replays: dict[str, _Replay] = {}

    def routes(self) -> list[Route]:
        """Return the endpoints."""
        path = "/browsers/{id}/replays"
        return [
            Route(path, self.start, methods=["POST"]),
            Route(path, self.list_replays, methods=["GET"]),
            Route(f"{path}/{{replay_id}}", self.download, methods=["GET"]),
            Route(f"{path}/{{replay_id}}/stop", self.stop, methods=["POST"]),
        ]

    def clear(self) -> None:
        """Forget all recordings."""
        self._replays.clear()

    async def start(self, request: Request) -> Response:
        """Answer `POST /browsers/{id}/replays`."""
        session = self._room.session(request)
        if await request.body():
            body = await read_object(
                request, tuple(_FIELDS), refuse_unknown=self._room.backend.switches.unknown_fields_refused
            )
            fields(_FIELDS)("", body)
        if session.headless:
            raise invalid("replays need a browser that is not headless")
        if any(each.is_running for each in self._of(session)):
            raise ApiError(409, self._room.backend.switches.conflict_code, "a replay is running already")
        replay = _Replay(session, new_id(), self._room.backend.clock.now())
        self._replays[replay.id] = replay
        return JSONResponse(replay.json(request.url.netloc), status_code=201)

    async def list_replays(self, request: Request) -> Response:
        """Answer `GET /browsers/{id}/replays`."""
        session = self._room.session(request, include_deleted=True)
        return JSONResponse([each.json(request.url.netloc) for each in self._of(session)])

    async def stop(self, request: Request) -> Response:
        """Answer `POST /browsers/{id}/replays/{replay_id}/stop`."""
        replay = self._find(request)
        if replay.finished is None:
            self._finish(replay, self._room.backend.clock.now(), time.monotonic())
        return Response(status_code=200)

    def _finish(self, replay: _Replay, at: int, real: float) -> None:
        replay.finished = at
        replay.ready_at = real + (self._room.backend.clock.real(self._room.backend.switches.replay_seconds) or 0.0)

    async def download(self, request: Request) -> Response:
        """Answer `GET /browsers/{id}/replays/{replay_id}`."""
        if time.monotonic() < self._find(request).ready_at:
            return Response(status_code=202, headers={"Retry-After": "1"})
        return Response(MP4, media_type="video/mp4")

    def _of(self, session: Session) -> list[_Replay]:
        found = [each for each in list(self._replays.values()) if each.session is session]
        for each in found:
            if each.finished is None and session.ended is not None:  # its end stops a recording
                self._finish(each, session.ended, session.ended_real)
        return found

    def _find(self, request: Request) -> _Replay:
        session = self._room.session(request, include_deleted=True)
        found = next((each for each in self._of(session) if each.id == request.path_params["replay_id"]), None)
        if found is None:
            raise ApiError(404, self._room.backend.switches.not_found_code, "replay not found")
        return found
