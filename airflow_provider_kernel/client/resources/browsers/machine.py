"""
The requests to what runs inside a browser's machine: scripts, commands, files, the screen, recordings.

Scripts and commands are never sent twice: giving up on one does not stop it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.http.request import (
    JSON,
    Request,
    json_body,
    path_segment,
    query_parameters,
)
from airflow_provider_kernel.client.http.response import (
    Response,
    content,
    done,
    json_of,
    parse_retry_after,
    rows_of,
)
from airflow_provider_kernel.client.resources.browsers.models import (
    CommandResult,
    FileInfo,
    Replay,
    ScriptResult,
)
from airflow_provider_kernel.client.resources.browsers.options import (
    DEFAULT_SCRIPT_SECONDS as DEFAULT_SCRIPT_SECONDS,
    MAX_SCRIPT_SECONDS as MAX_SCRIPT_SECONDS,
    check_code,
    check_script_seconds,
)
from airflow_provider_kernel.client.resources.browsers.requests import browser_path
from airflow_provider_kernel.client.retry import Resend
from airflow_provider_kernel.client.sanitize import short_repr
from airflow_provider_kernel.client.validation import is_unicode, is_whole_number

#: How long an answer may take beyond the time of the script or command: scripts of a browser wait for each other.
GRACE_SECONDS = 30.0

_script = json_of(ScriptResult)
_command = json_of(CommandResult)
_replay = json_of(Replay)
_files = rows_of(FileInfo)
_replays = rows_of(Replay)

_BINARY = "application/octet-stream"
_PNG = b"\x89PNG"


@dataclass
class Pending:
    """
    A recording that Kernel still prepares.

    :param retry_after: when Kernel wants to be asked again, in seconds.
    """

    retry_after: float | None


def execute_playwright(
    session_id: str, code: str, *, timeout_seconds: int = DEFAULT_SCRIPT_SECONDS
) -> Request[ScriptResult]:
    """
    ``POST /browsers/{id}/playwright/execute``: run a script. One that fails is a success of the request.

    :param code: the body of a function in TypeScript or JavaScript, with ``page``, ``context`` and ``browser``.
    :param timeout_seconds: how long it may run, 1 to 300.
    """
    body = {
        "code": check_code("code", code),
        "timeout_sec": check_script_seconds("timeout_seconds", timeout_seconds),
    }
    return Request(
        "POST",
        f"{browser_path(session_id)}/playwright/execute",
        _script,
        body=json_body(body),
        resend=Resend.IF_REFUSED,
        read_timeout=timeout_seconds + GRACE_SECONDS,
    )


def exec_command(
    session_id: str,
    command: str,
    *,
    args: Sequence[str] = (),
    timeout_seconds: int = DEFAULT_SCRIPT_SECONDS,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
) -> Request[CommandResult]:
    """
    ``POST /browsers/{id}/process/exec``: run a command, and wait for it. No shell is added.

    :param timeout_seconds: how long it may run; then Kernel kills it, and answers with 500.
    :param cwd: the folder to run it in, absolute.
    :param env: added to the environment of the machine.
    """
    if not is_whole_number(timeout_seconds) or timeout_seconds < 1:
        raise errors.KernelInputError(f"timeout_seconds is {short_repr(timeout_seconds)}; it takes seconds from 1")
    if isinstance(args, (str, bytes)) or not isinstance(args, Sequence) or not all(map(_is_sendable, args)):
        raise errors.KernelInputError(f"args is {short_repr(args)}; it takes a list of texts")
    body: dict[str, Any] = {"command": check_code("command", command), "args": list(args)}
    body["timeout_sec"] = timeout_seconds
    if cwd is not None:
        body["cwd"] = check_path("cwd", cwd)
    if env:
        if not isinstance(env, Mapping) or not all(map(_is_sendable, (*env, *env.values()))):
            raise errors.KernelInputError("env takes a mapping of text to text")  # without its values
        body["env"] = dict(env)
    return Request(
        "POST",
        f"{browser_path(session_id)}/process/exec",
        _command,
        body=json_body(body),
        resend=Resend.IF_REFUSED,
        read_timeout=timeout_seconds + GRACE_SECONDS,
    )


def read_file(session_id: str, path: str) -> Request[bytes]:
    """``GET /browsers/{id}/fs/read_file``: the contents of a file."""
    return _file_request("GET", session_id, "read_file", path, content, accept=_BINARY)


def write_file(session_id: str, path: str, data: bytes) -> Request[None]:
    """``PUT /browsers/{id}/fs/write_file``: write a file, in place of one that is there."""
    where, query = _file_place(session_id, "write_file", path)
    return Request("PUT", where, done, query=query, body=_check_data("data", data), content_type=_BINARY)


def list_files(session_id: str, path: str) -> Request[list[FileInfo]]:
    """``GET /browsers/{id}/fs/list_files``: what is in a folder."""
    return _file_request("GET", session_id, "list_files", path, _files)


def download_folder(session_id: str, path: str) -> Request[bytes]:
    """``GET /browsers/{id}/fs/download_dir_zip``: a folder, as a ZIP file."""
    return _file_request("GET", session_id, "download_dir_zip", path, content, accept="application/zip")


def upload_files(session_id: str, files: Mapping[str, bytes]) -> Request[None]:
    """
    ``POST /browsers/{id}/fs/upload``: write files, in place of those that are there.

    :param files: the contents by path.
    """
    if not files:
        raise errors.KernelInputError("files is empty; it takes the contents by path")
    boundary = secrets.token_hex(16)
    parts: list[bytes] = []
    for number, (path, data) in enumerate(files.items()):
        check_path("path", path)
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="files[{number}]'
        parts += [
            f'{head}[dest_path]"\r\n\r\n{path}\r\n'.encode(),
            f'{head}[file]"; filename="file{number}"\r\nContent-Type: {_BINARY}\r\n\r\n'.encode(),
            _check_data(f"files[{short_repr(path)}]", data),
            b"\r\n",
        ]
    parts.append(f"--{boundary}--\r\n".encode())
    return Request(
        "POST",
        f"{browser_path(session_id)}/fs/upload",
        done,
        body=b"".join(parts),
        content_type=f"multipart/form-data; boundary={boundary}",
    )


def take_screenshot(session_id: str) -> Request[bytes]:
    """``POST /browsers/{id}/computer/screenshot``: the screen, as a PNG."""

    def parse(response: Response) -> bytes:
        picture = content(response)
        if not picture.startswith(_PNG):
            raise ValueError("it is no PNG")
        return picture

    return Request(
        "POST", f"{browser_path(session_id)}/computer/screenshot", parse, body=json_body({}), accept="image/png"
    )


def start_replay(
    session_id: str, *, framerate: int | None = None, max_seconds: int | None = None
) -> Request[Replay]:
    """
    ``POST /browsers/{id}/replays``: start a recording. Headful sessions only, one at a time.

    :param framerate: pictures in a second, 1 to 60.
    :param max_seconds: its longest length.
    """
    given = {"framerate": framerate, "max_duration_in_seconds": max_seconds}
    body = json_body({name: value for name, value in given.items() if value is not None})
    return Request("POST", f"{browser_path(session_id)}/replays", _replay, body=body, resend=Resend.IF_REFUSED)


def list_replays(session_id: str) -> Request[list[Replay]]:
    """``GET /browsers/{id}/replays``."""
    return Request("GET", f"{browser_path(session_id)}/replays", _replays)


def stop_replay(session_id: str, replay_id: str) -> Request[None]:
    """``POST /browsers/{id}/replays/{replay_id}/stop``. A second stop changes nothing."""
    return Request("POST", f"{_replay_path(session_id, replay_id)}/stop", done)


def download_replay(session_id: str, replay_id: str) -> Request[bytes | Pending]:
    """
    ``GET /browsers/{id}/replays/{replay_id}``: the recording, an MP4 file, or when to ask again.

    A 202 has no body. It is no empty recording.
    """

    def parse(response: Response) -> bytes | Pending:
        if response.status_code == 202:
            return Pending(parse_retry_after(response.headers.get("retry-after")))
        return content(response)

    return Request("GET", _replay_path(session_id, replay_id), parse, accept="video/mp4")


def check_path(what: str, value: Any) -> str:
    """Refuse what is no absolute path in the browser's machine."""
    if not isinstance(value, str) or not value.startswith("/") or not value.isprintable() or not is_unicode(value):
        raise errors.KernelInputError(f"{what} is {short_repr(value)}; it takes an absolute path in the machine")
    return value


def _is_sendable(value: Any) -> bool:
    return isinstance(value, str) and is_unicode(value)


def _check_data(what: str, value: Any) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise errors.KernelInputError(f"{what} is {type(value).__name__}; it takes bytes. Encode a text first")
    return bytes(value)


def _file_request(
    method: str, session_id: str, call: str, path: str, parse: Any, *, accept: str = JSON
) -> Request[Any]:
    where, query = _file_place(session_id, call, path)
    return Request(method, where, parse, query=query, accept=accept)


def _file_place(session_id: str, call: str, path: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return f"{browser_path(session_id)}/fs/{call}", query_parameters(path=check_path("path", path))


def _replay_path(session_id: str, replay_id: str) -> str:
    return f"{browser_path(session_id)}/replays/{path_segment('replay_id', replay_id)}"
