"""The relay between a client's DevTools connection and the Chromium of its session."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING

from starlette.websockets import WebSocketDisconnect, WebSocketState
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from airflow_provider_kernel.testing.resources.browsers.chromium import MissingChromiumError
from airflow_provider_kernel.testing.resources.browsers.machine import EndedError

if TYPE_CHECKING:
    from starlette.websockets import WebSocket
    from websockets.asyncio.client import ClientConnection

    from airflow_provider_kernel.testing.resources.browsers.session import Session
    from airflow_provider_kernel.testing.resources.browsers.store import SessionStore

_MAX_MESSAGE_BYTES = 256 * 1024 * 1024
#: Close codes: a policy of the server, something unexpected, and the end of the session.
_REFUSED, _FAILED, _ENDED = 1008, 1011, 1001


async def serve_devtools(websocket: WebSocket, store: SessionStore) -> None:
    """Connect a client to the browser of the session that its address names, until either side closes."""
    session = store.by_token(websocket.path_params["id"], websocket.query_params.get("jwt", ""))
    await websocket.accept()
    if session is None:
        await websocket.close(_REFUSED, "no such browser session")
        return
    with store.in_use(session):
        try:
            chromium = await asyncio.to_thread(session.machine.chromium)
        except MissingChromiumError as error:
            await websocket.close(_FAILED, str(error)[:120])
            return
        except EndedError:
            await websocket.close(_ENDED, "the browser session has ended")
            return
        with contextlib.suppress(ConnectionClosed, OSError):
            async with connect(chromium.address, max_size=_MAX_MESSAGE_BYTES, compression=None) as devtools:
                await _Relay(websocket, devtools, session).run()
    if websocket.application_state is not WebSocketState.DISCONNECTED:
        with contextlib.suppress(RuntimeError):
            await websocket.close(_ENDED, "the browser session has ended")


class _Relay:
    """
    One connection.

    :param websocket: the client's side.
    :param devtools: Chromium's side.
    """

    def __init__(self, websocket: WebSocket, devtools: ClientConnection, session: Session) -> None:
        self._websocket = websocket
        self._devtools = devtools
        self._session = session
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Pass messages on until the client leaves, or the session ends and with it its connections."""
        loop = asyncio.get_running_loop()
        forget = self._session.machine.on_end(lambda: loop.call_soon_threadsafe(self._ended.set))
        from_client = asyncio.create_task(self._from_client())
        to_client = asyncio.create_task(self._to_client())
        ended = asyncio.create_task(self._ended.wait())
        try:
            # What comes from Chromium may end before the connection does: a switch keeps that open.
            await asyncio.wait({from_client, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            forget()
            for task in (from_client, to_client, ended):
                task.cancel()
            await asyncio.gather(from_client, to_client, ended, return_exceptions=True)

    async def _from_client(self) -> None:
        while True:
            try:
                text = await self._websocket.receive_text()
            except WebSocketDisconnect:
                return
            with contextlib.suppress(ConnectionClosed):
                await self._devtools.send(self._in_machine(text))

    async def _to_client(self) -> None:
        try:
            async for message in self._devtools:
                text = message if isinstance(message, str) else message.decode()
                await self._websocket.send_text(text)
        except (ConnectionClosed, WebSocketDisconnect):
            pass
        # A Chromium that crashed: without an end of the session, nothing else would close the connection.
        if self._session.is_active:
            self._ended.set()

    def _in_machine(self, text: str) -> str:
        """Let a path that a client names be one of the machine: the client's own folders are not in it."""
        if "downloadPath" not in text:
            return text
        message = json.loads(text)
        parameters = message.get("params") or {}
        if message.get("method") == "Browser.setDownloadBehavior" and "downloadPath" in parameters:
            place = self._session.machine.root / str(parameters["downloadPath"]).lstrip("/")
            place.mkdir(parents=True, exist_ok=True)
            parameters["downloadPath"] = str(place)
        return json.dumps(message)
