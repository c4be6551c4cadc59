"""Outages: for a time, the whole API answers 500, refuses connections or hangs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Literal, cast, get_args

from airflow_provider_kernel.testing.faults import CONNECTION, Answer, Fault
from airflow_provider_kernel.testing.path_globs import method_matches, method_of, path_matches
from airflow_provider_kernel.testing.signals import Signal

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from starlette.types import ASGIApp, Receive, Scope, Send

    from airflow_provider_kernel.testing.faults import Connection
    from airflow_provider_kernel.testing.settings import Switches

OutageKind = Literal["error", "refuse", "hang"]

_ERROR = Fault("*", "*", status=500)
_DROP = Fault("*", "*", drop="before", reset=True)


class Outage:
    """
    A time in which every request fails; `KernelEmulator.outage()` makes it.

    As a context manager it ends with the block.

    :param kind: `"error"`, `"refuse"` or `"hang"`.
    :param seconds: real seconds that it lasts; None until `end()`.
    :param begin: method and path glob of the request that begins it; None begins it at once.
    :param refuse: closes the listening socket and all connections.
    :param accept: listens again.
    :param cut: closes the websockets that are open.
    """

    def __init__(
        self,
        kind: OutageKind,
        seconds: float | None,
        begin: tuple[str, str] | None,
        *,
        refuse: Callable[[], object],
        accept: Callable[[], object],
        cut: Callable[[], object] = lambda: None,
    ) -> None:
        if kind not in get_args(OutageKind):
            raise ValueError(f"kind is {kind!r}; it takes one of {', '.join(map(repr, get_args(OutageKind)))}")
        if seconds is not None and seconds <= 0:
            raise ValueError(f"seconds is {seconds!r}; it must be above 0, or None for no limit")
        if begin is not None:
            path_matches(begin[1], "/")
        self.kind = kind
        self._seconds = seconds
        self._begin = begin
        self._refuse = refuse
        self._accept = accept
        self._cut = cut
        self._signal = Signal()
        self._due = begin is None
        self._begun = self._ending = self._over = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="kernel-emulator-outage", daemon=True)
        self._thread.start()
        if begin is None:
            self.wait_until_begun()

    @property
    def begun(self) -> bool:
        """Whether it has begun."""
        return self._begun

    @property
    def over(self) -> bool:
        """Whether it has ended, by time or by `end()`."""
        return self._over

    def end(self) -> None:
        """End it now, also before it has begun; return when requests succeed again."""
        with self._signal:
            self._ending = True
            self._signal.notify()
        self._thread.join()
        self._raise_error()

    def wait_until_begun(self, timeout: float = 10.0) -> None:
        """
        Wait until requests fail.

        :param timeout: real seconds.
        :raises AssertionError: after the timeout.
        """
        self._wait_until(lambda: self._begun or self._over, timeout, "begin")

    def wait_until_over(self, timeout: float = 10.0) -> None:
        """
        Wait until requests succeed again.

        :param timeout: real seconds.
        :raises AssertionError: after the timeout.
        """
        self._wait_until(lambda: self._over, timeout, "end")

    def __enter__(self) -> Outage:
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self.end()

    def takes(self, method: str, path: str) -> bool:
        """Return whether it makes this request fail; the request may be the one that begins it."""
        with self._signal:
            if self._begin is not None and method_matches(self._begin[0], method):
                self._due = self._due or path_matches(self._begin[1], path)
                self._signal.notify()
            return self._due and not self._over

    async def until_over(self) -> None:
        """Wait for the end, in a coroutine."""
        await self._signal.until(lambda: self._over)

    def _run(self) -> None:
        try:
            self._signal.wait_until(lambda: self._due or self._ending, None)
            if self._due:
                self._last()
        except Exception as error:  # noqa: BLE001 - end() and the waits raise it
            self._error = error
        finally:
            with self._signal:
                self._over = True
                self._signal.notify()

    def _last(self) -> None:
        if self.kind == "refuse":
            self._refuse()
        else:
            self._cut()
        with self._signal:
            self._begun = True
            self._signal.notify()
        self._signal.wait_until(lambda: self._ending, self._seconds)
        if self.kind == "refuse":
            self._accept()

    def _wait_until(self, predicate: Callable[[], bool], timeout: float, what: str) -> None:
        if not self._signal.wait_until(predicate, timeout):
            raise AssertionError(f"waited {timeout:g} s for the outage to {what}")
        self._raise_error()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise RuntimeError(f"the outage failed: {self._error}") from self._error


class OutageMiddleware:
    """
    Makes requests fail during an outage; the layer around the faults.

    :param app: the wrapped application.
    :param current: returns the outage that was made last.
    :param switches: returns the current switches.
    """

    def __init__(
        self, app: ASGIApp, current: Callable[[], Outage | None], switches: Callable[[], Switches]
    ) -> None:
        self._app = app
        self._current = current
        self._switches = switches

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        outage = self._current()
        if outage is None or not outage.takes(method_of(scope), scope["path"]):
            await self._app(scope, receive, send)
            return
        if outage.kind == "hang":
            await outage.until_over()
        fault = _ERROR if outage.kind == "error" else _DROP
        answer = Answer(
            fault,
            cast("Connection", scope["state"][CONNECTION]),
            receive,
            send,
            self._switches(),
            is_websocket=scope["type"] == "websocket",
        )
        await (answer.replace() if fault.replaces else answer.drop())
