"""The endpoints of what runs inside a browser's machine: scripts, commands and the screen; and of its files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from airflow_provider_kernel.testing.errors import ApiError, invalid
from airflow_provider_kernel.testing.http import read_object
from airflow_provider_kernel.testing.resources.browsers import files
from airflow_provider_kernel.testing.resources.browsers.chromium import MissingChromiumError, find_chromium
from airflow_provider_kernel.testing.resources.browsers.devtools import DevToolsError, screenshot
from airflow_provider_kernel.testing.resources.browsers.machine import EndedError
from airflow_provider_kernel.testing.resources.browsers.pictures import white_png
from airflow_provider_kernel.testing.resources.browsers.processes import Command, CommandContext, run_command
from airflow_provider_kernel.testing.resources.browsers.scripts import MissingPlaywrightError, run_script
from airflow_provider_kernel.testing.shapes import (
    Check,
    boolean,
    fields,
    items,
    mapping,
    maybe,
    text,
    whole,
)
from airflow_provider_kernel.testing.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.requests import Request

    from airflow_provider_kernel.testing.resources.browsers.routes import Browsers
    from airflow_provider_kernel.testing.resources.browsers.session import Session

    Handler = Callable[[Request, Session], Awaitable[Response]]
    Find = Callable[[Request], Session]

_SCRIPT: dict[str, Check] = {"code": text(), "timeout_sec": whole(1, 300)}
_COMMAND: dict[str, Check] = {
    "command": text(),
    "args": items(text()),
    "cwd": maybe(text(r"/.*")),
    "env": mapping(text(), text()),
    "as_user": maybe(text()),
    "as_root": boolean,
    "timeout_sec": maybe(whole()),
}
_SCREENSHOT: dict[str, Check] = {
    "region": fields(
        {"x": whole(), "y": whole(), "width": whole(), "height": whole()},
        required=("x", "y", "width", "height"),
        closed=True,
    )
}


class MachineRoutes:
    """
    The endpoints below a session.

    :param room: the room of the sessions.
    """

    def __init__(self, room: Browsers) -> None:
        self._room = room
        self.commands: dict[str, Command] = {}

    def routes(self) -> list[Route]:
        """Return the endpoints: those of the API, and those of the machine, which take the token of its address."""
        table = (
            ("POST", "playwright/execute", self.execute),
            ("POST", "process/exec", self.exec),
            ("POST", "computer/screenshot", self.screenshot),
            *files.ENDPOINTS,
        )
        return [
            Route(f"{prefix}/{path}", self._using(run, find), methods=[method])
            for prefix, find in (("/browsers/{id}", self._room.session), ("/browser/{id}/kernel", self._by_token))
            for method, path, run in table
        ]

    def _by_token(self, request: Request) -> Session:
        return self._room.store.by_token(request.path_params["id"], request.query_params.get("jwt"))

    def _using(self, handler: Handler, find: Find) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            session = find(request)
            with self._room.store.in_use(session):
                try:
                    return await handler(request, session)
                except EndedError:
                    raise self._room.store.absent() from None
                except (MissingChromiumError, MissingPlaywrightError) as error:
                    raise ApiError(500, "internal_error", str(error)) from error

        return handle

    async def execute(self, request: Request, session: Session) -> Response:
        """Answer `POST /browsers/{id}/playwright/execute`."""
        body = await read_object(request, tuple(_SCRIPT), refuse_unknown=True)
        fields(_SCRIPT, required=("code",))("", body)

        def run() -> dict[str, Any]:
            # Who called may be gone: what the script uses stays awake until it ends.
            with self._room.store.in_use(session):
                return run_script(session.machine, body["code"], float(body.get("timeout_sec", 60)))

        result = await in_thread(run, "script")
        if not session.is_active:
            raise self._room.store.absent()
        return JSONResponse(result)

    async def exec(self, request: Request, session: Session) -> Response:
        """Answer `POST /browsers/{id}/process/exec`."""
        body = await read_object(request, tuple(_COMMAND), refuse_unknown=True)
        fields(_COMMAND, required=("command",))("", body)
        if body.get("as_user") and body.get("as_root"):
            raise invalid("as_user and as_root exclude each other")
        command = self.commands.get(body["command"])
        if command is None:
            known = ", ".join(self.commands) or "none"
            message = f"{body['command']!r} cannot be started; the registered commands are: {known}"
            raise ApiError(500, "internal_error", message)
        context = CommandContext(body.get("cwd"), body.get("env", {}), session.machine)
        args, seconds = body.get("args", []), body.get("timeout_sec")
        running = in_thread(lambda: run_command(command, args, context), "command")
        try:
            return JSONResponse(await asyncio.wait_for(running, None if seconds is None else float(seconds)))
        except asyncio.TimeoutError:
            raise ApiError(500, "internal_error", "process timed out") from None

    async def screenshot(self, request: Request, session: Session) -> Response:
        """Answer `POST /browsers/{id}/computer/screenshot`; without a Chromium, the page is white."""
        body: dict[str, Any] = {}
        if await request.body():
            body = await read_object(request, tuple(_SCREENSHOT), refuse_unknown=True)
            fields(_SCREENSHOT)("", body)
        region = body.get("region")
        if region is not None and not (0 < region["width"] <= 10_000 and 0 < region["height"] <= 10_000):
            raise invalid("region must have a width and a height of 1 to 10000 pixels")

        def take() -> bytes:
            try:
                find_chromium()
            except MissingChromiumError:
                size = region or session.shown.get("viewport") or {"width": 1920, "height": 1080}
                return white_png(min(int(size["width"]), 10_000), min(int(size["height"]), 10_000))
            return screenshot(session.machine.chromium().address, region)

        try:
            return Response(await in_thread(take, "screenshot"), media_type="image/png")
        except (DevToolsError, OSError) as error:
            if not session.is_active:
                raise self._room.store.absent() from error
            raise ApiError(500, "internal_error", f"The screenshot failed: {error}") from error
