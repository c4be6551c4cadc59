"""Faults: injected errors, delays and disconnects."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from airflow_provider_kernel.testing.errors import code_of
from airflow_provider_kernel.testing.path_globs import method_matches, method_of, path_matches
from airflow_provider_kernel.testing.signals import Signal

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from airflow_provider_kernel.testing.settings import Switches

CONNECTION = "kernel_emulator_connection"

#: The messages that begin an answer.
_STARTS = ("http.response.start", "websocket.accept")


class DroppedError(Exception):
    """A fault has closed the connection of a websocket: the application must not go on with it."""


class Connection(Protocol):
    """A client's connection that faults can close."""

    def drop(self, *, reset: bool) -> None:
        """
        Close it.

        :param reset: with a TCP reset.
        """


@dataclass
class _Gate:
    signal: Signal = field(default_factory=Signal)
    open: bool = False
    held: int = 0


@dataclass(frozen=True, eq=False)
class Fault:
    """
    A rule: which requests fail, and how.

    It may be the handshake of a websocket, too, such as `GET /browser/*/cdp`.

    The steps have this order: `delay`; `drop="before"`; processing; `delay_answer`; `hold`; `drop="after"`;
    the answer, whole, replaced or cut. Times are real seconds.

    :param method: HTTP method, `*` for any.
    :param path: glob over the path: `*` within one segment (`/invocations/*`), `**` across segments; `*` alone
        matches every path.
    :param nth: which of the matching requests, counted from 1: a number, a tuple such as `(1, 3)`,
        `range(1, 4)` for the first three, or None for all.
    :param seconds: all matching requests of this time, beginning with the first one that `nth` picks.
    :param delay: wait before processing.
    :param delay_answer: wait after processing, before the answer is sent.
    :param hold: hold the answer back, after processing, until `release()`.
    :param status: answer with this status instead. The request is not processed unless `processed`.
    :param headers: headers of that answer; without `status` and `body`, headers added to the real one.
    :param body: body of that answer: raw bytes or str (a str that begins with `<` is HTML), anything else as
        JSON. None is Kernel's `Error` body for a status of 400 or above, else empty; `b""` is empty.
    :param processed: process the request before the answer is replaced, so that it has its effect.
    :param drop: close the connection without an answer, `"before"` or `"after"` processing.
    :param reset: drop with a TCP reset.
    :param truncate: announce the whole body, send half of it, and close the connection.
    :param cut_after: cut an event stream after this number of events, a websocket after this number of messages.
    :param cut: `"drop"` closes the connection, `"end"` ends the stream as if it were complete.
    """

    method: str
    path: str
    nth: int | Container[int] | None = (1,)
    seconds: float | None = field(default=None, kw_only=True)
    delay: float = field(default=0.0, kw_only=True)
    delay_answer: float = field(default=0.0, kw_only=True)
    hold: bool = field(default=False, kw_only=True)
    status: int | None = field(default=None, kw_only=True)
    headers: Mapping[str, str] | None = field(default=None, kw_only=True)
    body: Any = field(default=None, kw_only=True)
    processed: bool = field(default=False, kw_only=True)
    drop: Literal["before", "after"] | None = field(default=None, kw_only=True)
    reset: bool = field(default=False, kw_only=True)
    truncate: bool = field(default=False, kw_only=True)
    cut_after: int | None = field(default=None, kw_only=True)
    cut: Literal["drop", "end"] = field(default="drop", kw_only=True)
    _gate: _Gate = field(default_factory=_Gate, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the arguments."""
        path_matches(self.path, "/")
        if self.nth is not None and not isinstance(self.nth, (int, Container)):
            raise TypeError(f"nth is {self.nth!r}; give a number, a tuple or range of numbers, or None for all")
        for name, value, allowed in (
            ("drop", self.drop, (None, "before", "after")),
            ("cut", self.cut, ("drop", "end")),
        ):
            if value not in allowed:
                raise ValueError(f"{name} is {value!r}; it takes one of {', '.join(map(repr, allowed))}")
        if self.status is not None and not 200 <= self.status <= 599:
            raise ValueError(f"status is {self.status!r}; it must be from 200 to 599")
        if self.delay < 0 or self.delay_answer < 0:
            raise ValueError("delay and delay_answer are seconds and must not be negative")
        if self.seconds is not None and self.seconds <= 0:
            raise ValueError(f"seconds is {self.seconds!r}; it must be above 0, or None")
        if self.cut_after is not None and self.cut_after < 0:
            raise ValueError(f"cut_after is {self.cut_after}; it counts events and must be 0 or more")
        if self.drop is not None and (self.replaces or self.truncate or self.cut_after is not None):
            raise ValueError("drop leaves no answer to replace, truncate or cut; add two faults")
        if self.drop == "before" and (self.hold or self.delay_answer):
            raise ValueError('hold and delay_answer come after processing; use delay, or drop="after"')
        if self.processed and not self.replaces:
            raise ValueError("processed applies to an answer that is replaced; set status or body")

    @property
    def replaces(self) -> bool:
        """Whether the answer is replaced."""
        return self.status is not None or self.body is not None

    def fires(self, count: int) -> bool:
        """
        Return whether it applies to a matching request.

        :param count: the request's number among all that match, from 1.
        """
        if self.nth is None:
            return True
        return count == self.nth if isinstance(self.nth, int) else count in self.nth

    def release(self) -> None:
        """Send held answers, and hold no more."""
        with self._gate.signal:
            self._gate.open = True
            self._gate.signal.notify()

    def wait_until_held(self, count: int = 1, timeout: float = 10.0) -> None:
        """
        Wait until requests were processed and their answers are held.

        :param count: number of answers.
        :param timeout: real seconds.
        :raises AssertionError: after the timeout.
        """
        if not self._gate.signal.wait_until(lambda: self._gate.held >= count, timeout):
            raise AssertionError(
                f"waited {timeout:g} s for {count} held answers, {self._gate.held} are held: {self}"
            )

    async def park(self) -> None:
        """Wait for the release."""
        with self._gate.signal:
            self._gate.held += 1
            self._gate.signal.notify()
        await self._gate.signal.until(lambda: self._gate.open)


class Faults:
    """
    All faults, how many requests each has matched, and until when those with a time last.

    :param clock: returns seconds; real ones.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._faults: list[Fault] = []
        self._counts: dict[Fault, int] = {}
        self._until: dict[Fault, float] = {}

    def add(self, fault: Fault) -> Fault:
        """Add a fault; if several apply to a request, the first one wins."""
        with self._lock:
            if fault in self._counts:
                raise ValueError(f"this fault was added already; create another one: {fault}")
            self._faults.append(fault)
            self._counts[fault] = 0
        return fault

    def clear(self) -> None:
        """Remove all faults, and release held answers."""
        with self._lock:
            faults = list(self._faults)
            self._faults.clear()
            self._counts.clear()
            self._until.clear()
        for fault in faults:
            fault.release()

    def pick(self, method: str, path: str) -> Fault | None:
        """Count a request, and return the fault that applies to it."""
        picked = None
        with self._lock:
            for fault in self._faults:
                if method_matches(fault.method, method) and path_matches(fault.path, path):
                    self._counts[fault] += 1
                    if self._fires(fault) and picked is None:
                        picked = fault
        return picked

    def _fires(self, fault: Fault) -> bool:
        fires = fault.fires(self._counts[fault])
        if fault.seconds is None:
            return fires
        if fires:
            self._until.setdefault(fault, self._clock() + fault.seconds)
        return fault in self._until and self._clock() < self._until[fault]


class FaultMiddleware:
    """
    Applies faults; the layer between the journal and the endpoints.

    :param app: the wrapped application.
    :param switches: returns the current switches.
    """

    def __init__(self, app: ASGIApp, faults: Faults, switches: Callable[[], Switches]) -> None:
        self._app = app
        self._faults = faults
        self._switches = switches

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        fault = self._faults.pick(method_of(scope), scope["path"])
        if fault is None:
            await self._app(scope, receive, send)
            return
        await asyncio.sleep(fault.delay)
        connection = cast("Connection", scope["state"][CONNECTION])
        is_websocket = scope["type"] == "websocket"
        answer = Answer(fault, connection, receive, send, self._switches(), is_websocket=is_websocket)
        if fault.drop == "before":
            await answer.drop()
        elif fault.replaces and not fault.processed:
            await answer.replace()
        else:
            with contextlib.suppress(DroppedError):
                await self._app(scope, receive, answer.send)


class Answer:
    """The answer to one request that a fault applies to."""

    def __init__(
        self,
        fault: Fault,
        connection: Connection,
        receive: Receive,
        send: Send,
        switches: Switches,
        *,
        is_websocket: bool = False,
    ) -> None:
        self._fault = fault
        self._connection = connection
        self._receive = receive
        self._send = send
        self._switches = switches
        self._over = False
        self._is_websocket = is_websocket
        self._events = 0

    async def send(self, message: Message) -> None:
        """Handle a message of the real answer."""
        if self._over:
            return
        fault = self._fault
        if message["type"] in _STARTS:
            if fault.drop == "after":
                await self._before_answer()
                await self.drop()
            elif fault.replaces:
                await self.replace()
            else:
                await self._before_answer()
                await self._send({**message, "headers": [*message.get("headers", ()), *_raw(fault.headers or {})]})
                await self._cut_if_due()
            if self._is_websocket and self._over:
                raise DroppedError
            return
        if fault.truncate and not self._is_websocket:
            await self._send_half(message["body"])
            return
        await self._send(message)
        if message.get("more_body") or message["type"] == "websocket.send":
            self._events += 1
            await self._cut_if_due()

    async def replace(self) -> None:
        """Send the fault's own answer."""
        await self._before_answer()
        fault = self._fault
        status = 200 if fault.status is None else fault.status
        body, media_type = self._body(status)
        headers = {"content-length": str(len(body)), **({"content-type": media_type} if media_type else {})}
        headers.update({name.lower(): value for name, value in (fault.headers or {}).items()})
        if status in (204, 304):
            del headers["content-length"]
        # A websocket's handshake is refused with messages of its own names.
        prefix = "websocket." if self._is_websocket else ""
        await self._send({"type": f"{prefix}http.response.start", "status": status, "headers": _raw(headers)})
        if fault.truncate and not self._is_websocket:
            await self._send_half(body)
        else:
            self._over = True
            await self._send({"type": f"{prefix}http.response.body", "body": body, "more_body": False})

    async def drop(self) -> None:
        """Close the connection, and wait until it is closed: no answer can follow."""
        self._over = True
        self._connection.drop(reset=self._fault.reset)
        while not (await self._receive())["type"].endswith(".disconnect"):
            continue

    async def _before_answer(self) -> None:
        await asyncio.sleep(self._fault.delay_answer)
        if self._fault.hold:
            await self._fault.park()

    async def _send_half(self, body: bytes) -> None:
        await self._send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        await self.drop()

    async def _cut_if_due(self) -> None:
        if self._fault.cut_after is None or self._events < self._fault.cut_after:
            return
        self._over = True
        if self._fault.cut == "drop":
            # Do not wait for the disconnect: the stream itself does.
            self._connection.drop(reset=self._fault.reset)
        elif self._is_websocket:
            await self._send({"type": "websocket.close"})
        else:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _body(self, status: int) -> tuple[bytes, str | None]:
        body = self._fault.body
        if body is None:
            if status < 400:
                return b"", None
            body = {"code": code_of(status, self._switches), "message": "A fault of the emulator"}
        if isinstance(body, bytes):
            return body, None
        if isinstance(body, str):
            kind = "html" if body.lstrip().startswith("<") else "plain"
            return body.encode(), f"text/{kind}; charset=utf-8"
        return json.dumps(body).encode(), "application/json"


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
