"""Recordings of sessions: each is the same small MP4 file."""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from airflow_provider_kernel.testing.backend import new_id
from airflow_provider_kernel.testing.clock import format_time
from airflow_provider_kernel.testing.errors import ApiError, invalid
from airflow_provider_kernel.testing.http import read_object

if TYPE_CHECKING:
    from starlette.requests import Request

    from airflow_provider_kernel.testing.resources.browsers.routes import Browsers
    from airflow_provider_kernel.testing.resources.browsers.session import Session

_FIELDS = ("framerate", "max_duration_in_seconds", "record_audio")


@dataclass
class _Replay:
    session: Session
    id: str
    started: int
    finished: int | None = None
    ready_at: float = float("inf")

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
        """Return the endpoints that serve sessions which have ended, too."""
        return [
            Route("/browsers/{id}/replays", self.list_replays, methods=["GET"]),
            Route("/browsers/{id}/replays/{replay_id}", self.download, methods=["GET"]),
            Route("/browsers/{id}/replays/{replay_id}/stop", self.stop, methods=["POST"]),
        ]

    async def start(self, request: Request, session: Session) -> Response:
        """Answer `POST /browsers/{id}/replays`."""
        body = await read_object(request, _FIELDS, refuse_unknown=False) if await request.body() else {}
        for name, most in (("framerate", 60), ("max_duration_in_seconds", float("inf"))):
            value = body.get(name, 1)
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
                raise invalid(f"{name} is invalid")
        if not isinstance(body.get("record_audio", False), bool):
            raise invalid("record_audio is invalid")
        if session.options.get("headless", False):
            raise invalid("replays need a session that is not headless")
        if any(each.finished is None for each in self._of(session)):
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
            clock = self._room.backend.clock
            replay.finished = clock.now()
            replay.ready_at = time.monotonic() + (clock.real(self._room.backend.switches.replay_seconds) or 0.0)
        return Response(status_code=200)

    async def download(self, request: Request) -> Response:
        """Answer `GET /browsers/{id}/replays/{replay_id}`."""
        if time.monotonic() < self._find(request).ready_at:
            return Response(status_code=202, headers={"Retry-After": "1"})
        return Response(MP4, media_type="video/mp4")

    def _of(self, session: Session) -> list[_Replay]:
        return [each for each in self._replays.values() if each.session is session]

    def _find(self, request: Request) -> _Replay:
        session = self._room.session(request, include_deleted=True)
        found = self._replays.get(request.path_params["replay_id"])
        if found is None or found.session is not session:
            raise ApiError(404, self._room.backend.switches.not_found_code, "replay not found")
        return found


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


#: An MP4 file without any picture: its type, and a film of no length.
MP4 = _box(b"ftyp", b"isom\0\0\x02\0isomiso2mp41") + _box(
    b"moov",
    _box(
        b"mvhd",
        struct.pack(
            ">IIIIIIHHII9I6II",
            *(0, 0, 0, 1000, 0, 0x00010000, 0x0100, 0, 0, 0),
            *(0x00010000, 0, 0, 0, 0x00010000, 0, 0, 0, 0x40000000),
            *(0, 0, 0, 0, 0, 0),
            1,
        ),
    ),
)
