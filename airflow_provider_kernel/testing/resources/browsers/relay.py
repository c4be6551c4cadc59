"""The relay between a client's DevTools connection and the Chromium of its session."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.websockets import WebSocketDisconnect, WebSocketState
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from airflow_provider_kernel.testing.errors import ApiError
from airflow_provider_kernel.testing.resources.browsers.chromium import MissingChromiumError
from airflow_provider_kernel.testing.resources.browsers.machine import EndedError
from airflow_provider_kernel.testing.threads import in_thread

if TYPE_CHECKING:
    from starlette.websockets import WebSocket
    from websockets.asyncio.client import ClientConnection

    from airflow_provider_kernel.testing.resources.browsers.machine import Machine
    from airflow_provider_kernel.testing.resources.browsers.session import Session
    from airflow_provider_kernel.testing.resources.browsers.store import SessionStore

#: Close codes: something unexpected, and the end of the session.
_FAILED, _ENDED = 1011, 1001
_REASON_BYTES = 123
#: Calls whose parameters name files, and the parameter.
_PATHS = {
    "Browser.setDownloadBehavior": "downloadPath",
    "Page.setDownloadBehavior": "downloadPath",
    "DOM.setFileInputFiles": "files",
    "Page.handleFileChooser": "files",
}
#: How a connection to Chromium fails.
_UNREACHABLE = (WebSocketException, EOFError, OSError)
_LOGGER = logging.getLogger("airflow_provider_kernel.testing.relay")
_LOGGER.setLevel(logging.WARNING)


async def serve_devtools(websocket: WebSocket, store: SessionStore) -> None:
    """Connect a client to the browser of the session that its address names, until either side closes."""
    try:
        session = store.by_token(websocket.path_params["id"], websocket.query_params.get("jwt"))
    except ApiError as error:
        await websocket.send_denial_response(JSONResponse(error.body(), status_code=error.status))
        return
    await websocket.accept()
    with store.connected(session) as closed:
        code, reason = await _relay(websocket, session, closed)
    if WebSocketState.DISCONNECTED not in (websocket.application_state, websocket.client_state):
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # the client has left meanwhile
            await websocket.close(code, reason.encode()[:_REASON_BYTES].decode(errors="ignore"))


async def _relay(websocket: WebSocket, session: Session, closed: asyncio.Event) -> tuple[int, str]:
    """
    Pass messages on.

    :return: close code and reason for the client, if it has not left.
    """
    try:
        async with await _connect(session.machine) as devtools:
            if await _Relay(websocket, devtools, session).run(closed):
                return _FAILED, "Chromium has ended; connect again for another one"
    except MissingChromiumError as error:
        return _FAILED, str(error)
    except EndedError:
        return _ENDED, "The browser session has ended"
    except _UNREACHABLE as error:
        if session.is_active:
            return _FAILED, f"Chromium cannot be reached: {error}"
    return _ENDED, "The connection was closed" if session.is_active else "The browser session has ended"


async def _connect(machine: Machine) -> ClientConnection:
    """
    Connect to the Chromium of a machine.

    One that has just been killed may be there for a moment; then there is another one.

    :raises MissingChromiumError: without a Chromium on this host.
    :raises EndedError: if the machine has ended.
    """
    tries = 5
    while True:
        chromium = await in_thread(machine.chromium, "chromium")
        try:
            return await connect(
                chromium.address, max_size=None, compression=None, ping_interval=None, logger=_LOGGER
            )
        except _UNREACHABLE:
            tries -= 1
            if not tries:
                raise
            await asyncio.sleep(0.1)


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
        self._machine = _Paths(session.machine)

    async def run(self, closed: asyncio.Event) -> bool:
        """
        Pass messages on until the client leaves, or Chromium ends, or the connection is to be closed.

        A session that ends may leave its connections open, with nothing behind them: a switch of the store's.

        :param closed: says that the connection is to be closed.
        :return: whether Chromium has ended by itself.
        """
        from_client = asyncio.create_task(self._from_client())
        to_client = asyncio.create_task(self._to_client())
        close = asyncio.create_task(closed.wait())
        try:
            done, _ = await asyncio.wait({from_client, to_client, close}, return_when=asyncio.FIRST_COMPLETED)
            crashed = to_client in done and from_client not in done and self._session.is_active
            if to_client in done and not crashed:
                await asyncio.wait({from_client, close}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (from_client, to_client, close):
                task.cancel()
            results = await asyncio.gather(from_client, to_client, close, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
        return crashed

    async def _from_client(self) -> None:
        while True:
            try:
                text = await self._websocket.receive_text()
            except (WebSocketDisconnect, KeyError):  # a KeyError: a message of bytes, which the protocol has not
                return
            message = self._machine.to_host(text)
            if message is None:
                continue
            if isinstance(message, dict):
                await self._send(json.dumps(message))
            else:
                with contextlib.suppress(ConnectionClosed):
                    await self._devtools.send(message)

    async def _to_client(self) -> None:
        with contextlib.suppress(ConnectionClosed, WebSocketDisconnect):
            async for message in self._devtools:
                if not self._session.is_active:
                    continue  # a machine that is gone says nothing of its end, as a Chromium that ends would
                text = message if isinstance(message, str) else message.decode()
                await self._send(self._machine.to_machine(text))

    async def _send(self, text: str) -> None:
        # The client may have left, and its other task not noticed yet.
        with contextlib.suppress(RuntimeError):
            await self._websocket.send_text(text)


class _Paths:
    """
    Changes paths in messages: those of clients are of the machine, those of Chromium of this host.

    A worker's own folders are not in the machine, as they are not at Kernel.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def to_host(self, text: str) -> str | dict[str, Any] | None:
        """
        Change a client's message.

        :return: a dict is an error, the answer to that message.
        """
        if not any(method in text for method in _PATHS):
            return text
        try:
            message = json.loads(text)
            parameters = message.get("params") or {}
            name = _PATHS.get(message.get("method"), "")
        except (ValueError, AttributeError):
            return text
        if not parameters.get(name):
            return text
        try:
            parameters[name] = self._placed(parameters[name])
        except ApiError as error:
            number = {key: message[key] for key in ("id", "sessionId") if key in message}
            return {**number, "error": {"code": -32602, "message": f"{name}: {error.message}"}}
        except EndedError:
            return None
        return json.dumps(message)

    def to_machine(self, text: str) -> str:
        """Change a message of Chromium: of a download it says where it put it."""
        if '"filePath"' not in text or '"Browser.downloadProgress"' not in text:
            return text
        message = json.loads(text)
        path = Path((message.get("params") or {}).get("filePath") or "/")
        root = self._machine.folder
        if root is not None and root in path.parents:
            message["params"]["filePath"] = f"/{path.relative_to(root)}"
        return json.dumps(message)

    def _placed(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._placed(each) for each in value]
        return str(self._machine.place(str(value)))
