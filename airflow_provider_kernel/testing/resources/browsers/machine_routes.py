"""The endpoints of what runs inside a browser's machine: scripts, commands, files, the screen, recordings."""

from __future__ import annotations

import asyncio
import base64
import io
import shutil
import time
import zipfile
from collections.abc import Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from airflow_provider_kernel.testing.errors import ApiError, invalid
from airflow_provider_kernel.testing.http import read_object
from airflow_provider_kernel.testing.resources.browsers.chromium import MissingChromiumError
from airflow_provider_kernel.testing.resources.browsers.machine import EndedError
from airflow_provider_kernel.testing.resources.browsers.replays import Replays
from airflow_provider_kernel.testing.resources.browsers.scripts import MissingPlaywrightError, run_script

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

    from starlette.datastructures import UploadFile
    from starlette.requests import Request

    from airflow_provider_kernel.testing.resources.browsers.routes import Browsers
    from airflow_provider_kernel.testing.resources.browsers.session import Session

#: Takes the arguments of a command; returns its exit code, or its output as text or bytes.
Command = Callable[[list[str]], Any]

_SCRIPT_FIELDS = ("code", "timeout_sec", "executor")
_COMMAND_FIELDS = ("command", "args", "cwd", "env", "as_user", "as_root", "timeout_sec")

_Handler = Callable[["Request", "Session"], "Awaitable[Response]"]


class MachineRoutes:
    """
    The endpoints below a session.

    :param room: the room of the sessions.
    """

    def __init__(self, room: Browsers) -> None:
        self._room = room
        self.commands: dict[str, Command] = {}
        self._replays = Replays(room)

    def routes(self) -> list[Route]:
        """Return the endpoints."""
        table: tuple[tuple[str, str, _Handler], ...] = (
            ("POST", "playwright/execute", self.execute),
            ("POST", "process/exec", self.exec),
            ("GET", "fs/read_file", self.read_file),
            ("PUT", "fs/write_file", self.write_file),
            ("GET", "fs/list_files", self.list_files),
            ("GET", "fs/file_info", self.file_info),
            ("PUT", "fs/create_directory", self.create_directory),
            ("PUT", "fs/delete_file", self.delete_file),
            ("POST", "fs/upload", self.upload),
            ("POST", "fs/upload_zip", self.upload_zip),
            ("GET", "fs/download_dir_zip", self.download_folder),
            ("POST", "computer/screenshot", self.screenshot),
            ("POST", "replays", self._replays.start),
        )
        in_use = [Route(f"/browsers/{{id}}/{path}", self._using(run), methods=[verb]) for verb, path, run in table]
        return [*in_use, *self._replays.routes()]

    def _using(self, handler: _Handler) -> Callable[[Request], Awaitable[Response]]:
        """Keep the session awake while a request is handled."""

        async def handle(request: Request) -> Response:
            session = self._room.session(request)
            with self._room.store.in_use(session):
                try:
                    return await handler(request, session)
                except EndedError:
                    message = "browser session not found"
                    raise ApiError(404, self._room.backend.switches.not_found_code, message) from None
                except (MissingChromiumError, MissingPlaywrightError) as error:
                    raise ApiError(500, "internal_error", str(error)) from error

        return handle

    async def execute(self, request: Request, session: Session) -> Response:
        """Answer `POST /browsers/{id}/playwright/execute`."""
        body = await read_object(request, _SCRIPT_FIELDS, refuse_unknown=True)
        code = body.get("code")
        if not isinstance(code, str):
            raise invalid("code must be a string")
        seconds = _seconds(body, 60, 300)
        real = self._room.backend.clock.real(seconds)
        return JSONResponse(await run_script(session.machine, code, real))

    async def exec(self, request: Request, session: Session) -> Response:
        """Answer `POST /browsers/{id}/process/exec`."""
        body = await read_object(request, _COMMAND_FIELDS, refuse_unknown=True)
        name, args = body.get("command"), body.get("args", [])
        if not isinstance(name, str) or not isinstance(args, list) or not all(isinstance(arg, str) for arg in args):
            raise invalid("command must be a string, and args an array of strings")
        if body.get("as_user") and body.get("as_root"):
            raise invalid("as_user and as_root exclude each other")
        command = self.commands.get(name)
        if command is None:
            known = ", ".join(self.commands) or "none"
            raise ApiError(500, "internal_error", f"{name!r} cannot be started; registered commands: {known}")
        seconds = _seconds(body, None, None)
        began = time.monotonic()
        try:
            outcome = await asyncio.wait_for(
                asyncio.to_thread(command, args), self._room.backend.clock.real(seconds)
            )
        except asyncio.TimeoutError:
            raise ApiError(500, "internal_error", "process timed out") from None
        return JSONResponse(_result_of(outcome, time.monotonic() - began))

    async def read_file(self, request: Request, session: Session) -> Response:
        """Answer `GET /browsers/{id}/fs/read_file`."""
        place = self._place(request, session)
        if not place.is_file():
            raise self._absent(request)
        return Response(place.read_bytes(), media_type="application/octet-stream")

    async def write_file(self, request: Request, session: Session) -> Response:
        """Answer `PUT /browsers/{id}/fs/write_file`."""
        place = self._place(request, session)
        mode = request.query_params.get("mode", "644")
        if not mode.isascii() or len(mode) not in (3, 4) or any(digit not in "01234567" for digit in mode):
            raise invalid("mode must be three or four octal digits")
        self._write(place, await request.body())
        place.chmod(int(mode, 8) | 0o600)
        return Response(status_code=201)

    async def list_files(self, request: Request, session: Session) -> Response:
        """Answer `GET /browsers/{id}/fs/list_files`."""
        place = self._place(request, session)
        if not place.is_dir():
            raise self._absent(request)
        return JSONResponse([_info(each, session) for each in sorted(place.iterdir())])

    async def file_info(self, request: Request, session: Session) -> Response:
        """Answer `GET /browsers/{id}/fs/file_info`."""
        place = self._place(request, session)
        if not place.exists():
            raise self._absent(request)
        return JSONResponse(_info(place, session))

    async def create_directory(self, request: Request, session: Session) -> Response:
        """Answer `PUT /browsers/{id}/fs/create_directory`."""
        body = await read_object(request, ("path", "mode"), refuse_unknown=True)
        place = session.machine.place(_text(body, "path"))
        if place.is_file():
            raise invalid("path is a file")
        place.mkdir(parents=True, exist_ok=True)
        return Response(status_code=201)

    async def delete_file(self, request: Request, session: Session) -> Response:
        """Answer `PUT /browsers/{id}/fs/delete_file`."""
        body = await read_object(request, ("path",), refuse_unknown=True)
        place = session.machine.place(_text(body, "path"))
        if not place.is_file():
            raise self._absent(request)
        place.unlink()
        return Response(status_code=200)

    async def upload(self, request: Request, session: Session) -> Response:
        """Answer `POST /browsers/{id}/fs/upload`."""
        async with request.form(max_files=1000, max_fields=1000, max_part_size=64 * 1024**2) as form:
            number = 0
            while f"files[{number}][file]" in form or f"files[{number}][dest_path]" in form:
                file, path = form.get(f"files[{number}][file]"), form.get(f"files[{number}][dest_path]")
                if isinstance(file, str) or file is None or not isinstance(path, str):
                    raise invalid(f"files[{number}] needs a file and a dest_path")
                self._write(session.machine.place(path), await file.read())
                number += 1
        if not number:
            raise invalid("files must not be empty")
        return Response(status_code=201)

    async def upload_zip(self, request: Request, session: Session) -> Response:
        """Answer `POST /browsers/{id}/fs/upload_zip`."""
        async with request.form() as form:
            file, path = form.get("zip_file"), form.get("dest_path")
            if isinstance(file, str) or file is None or not isinstance(path, str):
                raise invalid("zip_file and dest_path are required")
            await self._unpack(file, session, path)
        return Response(status_code=201)

    async def _unpack(self, file: UploadFile, session: Session, path: str) -> None:
        try:
            with zipfile.ZipFile(io.BytesIO(await file.read())) as archive:
                for member in archive.infolist():
                    if not member.is_dir():
                        self._write(session.machine.place(f"{path}/{member.filename}"), archive.read(member))
        except zipfile.BadZipFile as error:
            raise invalid(f"zip_file is no ZIP file: {error}") from error

    async def download_folder(self, request: Request, session: Session) -> Response:
        """Answer `GET /browsers/{id}/fs/download_dir_zip`."""
        place = self._place(request, session)
        if not place.is_dir():
            raise self._absent(request)
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as target:
            for each in sorted(place.rglob("*")):
                target.write(each, each.relative_to(place))
        return Response(archive.getvalue(), media_type="application/zip")

    async def screenshot(self, request: Request, session: Session) -> Response:
        """Answer `POST /browsers/{id}/computer/screenshot`."""
        if await request.body():
            await read_object(request, ("region",), refuse_unknown=True)
        code = "return (await page.screenshot()).toString('base64');"
        result = await run_script(session.machine, code, 30.0)
        if not result["success"]:
            raise ApiError(500, "internal_error", str(result["error"]))
        return Response(base64.b64decode(result["result"]), media_type="image/png")

    def _place(self, request: Request, session: Session) -> Path:
        path = request.query_params.get("path")
        if path is None:
            raise invalid("path is required")
        return session.machine.place(path)

    def _write(self, place: Path, data: bytes) -> None:
        if place.is_dir():
            raise invalid("path is a folder")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        except OSError as error:
            raise invalid(f"the file cannot be written: {error.strerror}") from error

    def _absent(self, request: Request) -> ApiError:
        code = self._room.backend.switches.not_found_code
        return ApiError(404, code, f"{request.query_params.get('path', 'the path')} not found")


def remove(place: Path) -> None:
    """Delete a file or folder."""
    shutil.rmtree(place) if place.is_dir() else place.unlink()


def _text(body: dict[str, Any], name: str) -> str:
    if not isinstance(body.get(name), str):
        raise invalid(f"{name} must be a string")
    return str(body[name])


def _seconds(body: dict[str, Any], default: int | None, most: int | None) -> int | None:
    value = body.get("timeout_sec", default)
    if value is None:
        return None
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or value < 1 or value != int(value) or (most is not None and value > most):
        raise invalid(f"timeout_sec must be a whole number from 1{'' if most is None else f' to {most}'}")
    return int(value)


def _result_of(outcome: Any, seconds: float) -> dict[str, Any]:
    exit_code = outcome if isinstance(outcome, int) else 0
    output = outcome if isinstance(outcome, bytes) else outcome.encode() if isinstance(outcome, str) else b""
    return {
        "exit_code": exit_code,
        "stdout_b64": base64.b64encode(output).decode(),
        "stderr_b64": "",
        "duration_ms": round(seconds * 1000),
    }


def _info(place: Path, session: Session) -> dict[str, Any]:
    stat = place.stat()
    return {
        "name": place.name or "/",
        "path": session.machine.path_of(place),
        "size_bytes": stat.st_size,
        "is_dir": place.is_dir(),
        "mod_time": datetime.fromtimestamp(stat.st_mtime, timezone.utc).isoformat(),
        "mode": f"{stat.st_mode & 0o7777:04o}",
    }
