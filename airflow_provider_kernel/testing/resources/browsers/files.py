"""The endpoints of the files in a browser's machine."""

from __future__ import annotations

import io
import zipfile
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from airflow_provider_kernel.testing.errors import ApiError, invalid
from airflow_provider_kernel.testing.http import read_object
from airflow_provider_kernel.testing.shapes import Check, fields, text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from starlette.datastructures import UploadFile
    from starlette.requests import Request

    from airflow_provider_kernel.testing.resources.browsers.machine import Machine
    from airflow_provider_kernel.testing.resources.browsers.session import Session

    Handler = Callable[[Request, Session], Awaitable[Response]]

_MODE = text(r"[0-7]{3,4}")
_FOLDER: dict[str, Check] = {"path": text(r"/.*"), "mode": _MODE}
_PATH: dict[str, Check] = {"path": text(r"/.*")}


async def read_file(request: Request, session: Session) -> Response:
    """Answer `GET /browsers/{id}/fs/read_file`."""
    place = _place(request, session)
    if not place.is_file():
        raise _absent()
    return Response(place.read_bytes(), media_type="application/octet-stream")


async def write_file(request: Request, session: Session) -> Response:
    """Answer `PUT /browsers/{id}/fs/write_file`."""
    place = _place(request, session)
    mode = request.query_params.get("mode", "644")
    _MODE("mode", mode)
    data = await request.body()
    if not data and "content-type" not in request.headers:
        raise invalid("A body is required")
    _write(place, data)
    place.chmod(int(mode, 8) & 0o777 | 0o600)
    return Response(status_code=201)


async def list_files(request: Request, session: Session) -> Response:
    """Answer `GET /browsers/{id}/fs/list_files`."""
    place = _place(request, session)
    if not place.is_dir():
        raise _absent()
    return JSONResponse([_info(each, session.machine) for each in sorted(place.iterdir())])


async def file_info(request: Request, session: Session) -> Response:
    """Answer `GET /browsers/{id}/fs/file_info`."""
    place = _place(request, session)
    if not place.exists():
        raise _absent()
    return JSONResponse(_info(place, session.machine))


async def create_directory(request: Request, session: Session) -> Response:
    """Answer `PUT /browsers/{id}/fs/create_directory`."""
    body = await read_object(request, tuple(_FOLDER), refuse_unknown=True)
    fields(_FOLDER, required=("path",))("", body)
    place = session.machine.place(body["path"])
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ApiError(403, "forbidden", f"the folder cannot be made: {error.strerror}") from error
    place.chmod(int(body.get("mode", "755"), 8) & 0o777 | 0o700)
    return Response(status_code=201)


async def delete_file(request: Request, session: Session) -> Response:
    """Answer `PUT /browsers/{id}/fs/delete_file`."""
    body = await read_object(request, tuple(_PATH), refuse_unknown=True)
    fields(_PATH, required=("path",))("", body)
    place = session.machine.place(body["path"])
    if not place.is_file():
        raise _absent()
    place.unlink()
    return Response(status_code=200)


async def upload(request: Request, session: Session) -> Response:
    """Answer `POST /browsers/{id}/fs/upload`."""
    async with request.form(max_files=1000, max_fields=1000) as form:
        number = 0
        while f"files[{number}][file]" in form or f"files[{number}][dest_path]" in form:
            file, path = form.get(f"files[{number}][file]"), form.get(f"files[{number}][dest_path]")
            if isinstance(file, str) or file is None or not isinstance(path, str):
                raise invalid(f"files[{number}] needs a file and a dest_path")
            _write(session.machine.place(path), await file.read())
            number += 1
    if not number:
        raise invalid("files must hold files[0][file] and files[0][dest_path], and so on")
    return Response(status_code=201)


async def upload_zip(request: Request, session: Session) -> Response:
    """Answer `POST /browsers/{id}/fs/upload_zip`."""
    async with request.form() as form:
        file, path = form.get("zip_file"), form.get("dest_path")
        if isinstance(file, str) or file is None or not isinstance(path, str):
            raise invalid("zip_file and dest_path are required")
        await _unpack(file, session.machine, path)
    return Response(status_code=201)


async def download_folder(request: Request, session: Session) -> Response:
    """Answer `GET /browsers/{id}/fs/download_dir_zip`."""
    place = _place(request, session)
    if not place.is_dir():
        raise _absent()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", strict_timestamps=False) as target:
        for each in sorted(place.rglob("*")):
            if each.is_dir() or each.is_file():  # no sockets: Chromium has some
                target.write(each, each.relative_to(place))
    return Response(archive.getvalue(), media_type="application/zip")


ENDPOINTS: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "fs/read_file", read_file),
    ("PUT", "fs/write_file", write_file),
    ("GET", "fs/list_files", list_files),
    ("GET", "fs/file_info", file_info),
    ("PUT", "fs/create_directory", create_directory),
    ("PUT", "fs/delete_file", delete_file),
    ("POST", "fs/upload", upload),
    ("POST", "fs/upload_zip", upload_zip),
    ("GET", "fs/download_dir_zip", download_folder),
)


async def _unpack(file: UploadFile, machine: Machine, path: str) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(await file.read())) as archive:
            for member in archive.infolist():
                if not member.is_dir():
                    _write(machine.place(f"{path}/{member.filename}"), archive.read(member))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise invalid(f"zip_file is no ZIP file that can be read: {error}") from error


def _place(request: Request, session: Session) -> Path:
    path = request.query_params.get("path")
    if path is None:
        raise invalid("path is required")
    return session.machine.place(path)


def _write(place: Path, data: bytes) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    except OSError as error:
        raise ApiError(403, "forbidden", f"the file cannot be written: {error.strerror}") from error


def _absent() -> ApiError:
    return ApiError(404, "not_found", "no such file or folder")


def _info(place: Path, machine: Machine) -> dict[str, Any]:
    stat = place.lstat()
    return {
        "name": place.name if place != machine.root else "/",
        "path": machine.path_of(place),
        "size_bytes": stat.st_size,
        "is_dir": place.is_dir(),
        "mod_time": datetime.fromtimestamp(stat.st_mtime, timezone.utc).isoformat(),
        "mode": f"{stat.st_mode & 0o7777:04o}",
    }
