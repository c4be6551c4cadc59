"""The emulator's public class."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_kernel.testing.application import build_app
from airflow_provider_kernel.testing.backend import Backend
from airflow_provider_kernel.testing.faults import Fault, FaultMiddleware, Faults
from airflow_provider_kernel.testing.journal import Journal, JournalMiddleware, RecordedRequest
from airflow_provider_kernel.testing.outages import Outage, OutageKind, OutageMiddleware
from airflow_provider_kernel.testing.projects import HasProjects
from airflow_provider_kernel.testing.resources import ROOMS
from airflow_provider_kernel.testing.resources.apps import LATEST, Apps
from airflow_provider_kernel.testing.resources.browsers import BrowserRecord, Browsers
from airflow_provider_kernel.testing.resources.invocations import Invocations
from airflow_provider_kernel.testing.resources.invocations.record import (
    FINAL,
    STATUSES,
    InvocationRecord,
    most_active_at_once,
)
from airflow_provider_kernel.testing.server import EmulatorServer, reserve
from airflow_provider_kernel.testing.settings import Switches

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket
    from types import TracebackType

    from airflow_provider_kernel.testing.room import Room

DEFAULT_API_KEY = "sk-emulator"
HOST = "127.0.0.1"

_Function = TypeVar("_Function", bound="Callable[..., Any]")
_Room = TypeVar("_Room", bound="Room")


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()


class KernelEmulator(HasProjects):
    """
    An emulated Kernel API on loopback.

    Use it as a context manager, or with `start()` and `stop()`. It has an app `demo` with the actions `echo`,
    `sleep`, `fail`, `logs`, `browsers` and `hang`; further actions are Python functions.

    :param api_key: the org-wide key that clients must send.
    :param port: port to listen on; 0 picks a free one, and a restart keeps it.
    :param switches: behaviour where Kernel's documentation is silent; may be changed later.
    :param time_scale: emulated seconds in a real second, for run times and waits: at 1000 a timeout of 900 s
        passes in 0.9 s. Heartbeats and faults use real seconds.
    """

    def __init__(
        self,
        api_key: str = DEFAULT_API_KEY,
        port: int = 0,
        *,
        switches: Switches | None = None,
        time_scale: float = 1.0,
    ) -> None:
        self.api_key = api_key
        self._port = port
        self._backend = Backend(api_key, switches or Switches(), time_scale, ROOMS)
        self._runs = self._backend.room(Invocations).store
        self._journal = Journal()
        self._faults = Faults()
        self._outage: Outage | None = None
        app = FaultMiddleware(build_app(self._backend), self._faults, lambda: self.switches)
        outages = OutageMiddleware(app, lambda: self._outage, lambda: self.switches)
        self._app = JournalMiddleware(outages, self._journal)
        self._server: EmulatorServer | None = None
        self._reserved: socket | None = None

    # Lifecycle

    def start(self) -> KernelEmulator:
        """Start the server; it answers requests when this returns."""
        if self._server is not None:
            raise RuntimeError(f"the emulator is running already, at {self.base_url}")
        server = EmulatorServer(self._app, HOST, self._port)
        server.start()
        self._server, self._port = server, server.port
        return self

    def stop(self) -> None:
        """
        Stop the server and all actions, and close open connections.

        Records stay, including those of active invocations. Does nothing in a forked child.
        """
        server = self._server
        if server is not None and not server.is_here:
            return
        self._end_outage()
        server, self._server = self._server, None
        if server is None:
            return
        for room in self._backend.rooms:
            room.stop()
        server.stop()

    def outage(
        self,
        kind: OutageKind = "refuse",
        *,
        seconds: float | None = None,
        begin: tuple[str, str] | None = None,
    ) -> Outage:
        """
        Begin an outage, now or with a request; actions continue meanwhile.

        As a context manager it ends with the block. `clear_faults()` and `reset()` end it, too.

        :param kind: `"error"` answers every request with 500; `"refuse"` closes all connections, and the port
            refuses new ones; `"hang"` accepts requests, never answers or processes them, and closes their
            connections at the end.
        :param seconds: real seconds that it lasts; None for no limit.
        :param begin: method and path (as in `Fault`) of the request that begins it, and that it makes fail:
            `("PATCH", "/invocations/*")`. None begins it now.
        """
        if self._server is None:
            raise RuntimeError("the emulator is not running; start() it before an outage")
        if self._outage is not None and not self._outage.over:
            raise RuntimeError("the last outage is not over; end() it before another one")
        hooks = {"refuse": self._refuse, "accept": self._accept, "cut": self._server.cut_websockets}
        self._outage = Outage(kind, seconds, begin, **hooks)
        return self._outage

    def _end_outage(self) -> None:
        if self._outage is not None:
            self._outage.end()

    def _refuse(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None
            self._reserved = reserve(HOST, self.port)

    def _accept(self) -> None:
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None
            self.start()

    def __enter__(self) -> KernelEmulator:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def reset(self) -> None:
        """Delete invocations, browsers, requests and faults. Actions, projects, keys and switches stay."""
        self.clear_faults()
        for room in self._backend.rooms:
            room.reset()
        self._journal.clear()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        if not self._port:
            raise RuntimeError("the emulator has no port yet; start() it, or use it in a with statement")
        return self._port

    @property
    def base_url(self) -> str:
        """The base URL of the API."""
        return f"http://{HOST}:{self.port}"

    @property
    def airflow_connection(self) -> str:
        """The value of `AIRFLOW_CONN_KERNEL_DEFAULT` for a connection to this emulator."""
        return json.dumps({"conn_type": "kernel", "host": self.base_url, "password": self.api_key})

    # Set-up

    @property
    def switches(self) -> Switches:
        """Behaviour where Kernel's documentation is silent."""
        return self._backend.switches

    @switches.setter
    def switches(self, switches: Switches) -> None:
        self._backend.switches = switches

    @property
    def time_scale(self) -> float:
        """Emulated seconds in a real second, for waits that begin from now on."""
        return self._backend.clock.scale

    @time_scale.setter
    def time_scale(self, scale: float) -> None:
        self._backend.clock.scale = scale
        self._backend.signal.notify()

    def register(
        self, app_name: str, action_name: str, function: Callable[..., Any], version: str = LATEST
    ) -> None:
        """
        Deploy a Python function as an action.

        :param app_name: the app, created if needed.
        :param action_name: the action; an action of the same name is replaced.
        :param function: takes `(ctx)` or `(ctx, payload)`, sync or async. Its return value is the
            output; an exception fails the invocation.
        :param version: the version label.
        """
        self._backend.room(Apps).register(app_name, action_name, function, version)

    def action(self, app_name: str, action_name: str, version: str = LATEST) -> Callable[[_Function], _Function]:
        """Deploy the decorated function as an action; see `register()`."""

        def decorate(function: _Function) -> _Function:
            self.register(app_name, action_name, function, version)
            return function

        return decorate

    def add_fault(self, fault: Fault) -> Fault:
        """Add a fault, and return it."""
        return self._faults.add(fault)

    def clear_faults(self) -> None:
        """Remove all faults, release held answers, and end an outage."""
        self._faults.clear()
        self._end_outage()

    def room(self, kind: type[_Room]) -> _Room:
        """
        Return the emulated resource of a class, such as `Limits`, to set it up.

        :param kind: a class of `airflow_provider_kernel.testing.resources`.
        """
        return self._backend.room(kind)

    # Requests

    @property
    def journal(self) -> tuple[RecordedRequest, ...]:
        """Every request, in order."""
        return self._journal.requests()

    def requests(self, method: str | None = None, path: str | None = None) -> tuple[RecordedRequest, ...]:
        """
        Return the requests that match.

        :param method: only this method.
        :param path: only paths that match this glob (as in `Fault`).
        """
        return self._journal.requests(method, path)

    def wait_for(
        self, method: str | None, path: str | None, count: int = 1, timeout: float = 10.0
    ) -> tuple[RecordedRequest, ...]:
        """
        Wait until `count` matching requests were received; they may not be answered yet.

        :param method: only this method.
        :param path: only paths that match this glob (as in `Fault`).
        :param count: number of requests.
        :param timeout: real seconds.
        :return: all matching requests.
        :raises AssertionError: with the journal, after the timeout.
        """
        return self._journal.wait_for(method, path, count, timeout)

    # Browsers

    @property
    def browsers(self) -> tuple[BrowserRecord, ...]:
        """A snapshot of every browser session, oldest first; not those of invocations."""
        return self._backend.room(Browsers).records

    # Invocations

    @property
    def invocations(self) -> tuple[InvocationRecord, ...]:
        """A snapshot of every invocation, oldest first."""
        with self._backend.signal:
            return tuple(run.record() for run in self._runs.runs())

    def invocation(self, invocation_id: str) -> InvocationRecord:
        """
        Return a snapshot of an invocation.

        :raises KeyError: with the known IDs, if there is no such invocation.
        """
        with self._backend.signal:
            return self._runs.get(invocation_id).record()

    def wait_until(self, predicate: Callable[[], bool], timeout: float = 10.0) -> None:
        """
        Wait until a predicate holds; it is checked after each change.

        :param predicate: such as `lambda: kernel.invocation(known).browsers == 2`.
        :param timeout: real seconds.
        :raises AssertionError: with invocations and browsers, after the timeout.
        """
        if not self._backend.signal.wait_until(predicate, timeout):
            records = "\n".join(f"  {record}" for record in (*self.invocations, *self.browsers)) or "  (none)"
            raise AssertionError(
                f"the predicate did not hold within {timeout:g} s; invocations and browsers are:\n{records}"
            )

    def wait_for_invocations(self, count: int = 1, timeout: float = 10.0) -> tuple[InvocationRecord, ...]:
        """
        Wait until `count` invocations were created.

        :param timeout: real seconds.
        :raises AssertionError: with the invocations, after the timeout.
        """
        self.wait_until(lambda: len(self.invocations) >= count, timeout)
        return self.invocations

    def wait_for_status(self, invocation_id: str, status: str, timeout: float = 10.0) -> InvocationRecord:
        """
        Wait until an invocation has, or has had, a status.

        :param timeout: real seconds.
        :raises AssertionError: after the timeout, or if the invocation ends with another status.
        """
        if status not in STATUSES:
            raise ValueError(f"status is {status!r}; it must be one of {', '.join(STATUSES)}")
        run = self._runs.get(invocation_id)
        self._backend.signal.wait_until(lambda: status in run.statuses or run.finished, timeout)
        record = self.invocation(invocation_id)
        if status not in record.statuses:
            raise AssertionError(f"waited {timeout:g} s for {invocation_id} to be {status}; it is {record}")
        return record

    def most_active_at_once(self, app_name: str | None = None, action_name: str | None = None) -> int:
        """
        Return the largest number of invocations that were queued or running at the same time.

        :param app_name: only of this app.
        :param action_name: only of this action.
        """
        return most_active_at_once(
            [
                record
                for record in self.invocations
                if app_name in (None, record.app_name) and action_name in (None, record.action_name)
            ]
        )

    def finish(
        self,
        invocation_id: str,
        status: str = "succeeded",
        output: Any = ABSENT,
        *,
        raw_output: str | None = None,
    ) -> InvocationRecord:
        """
        End an invocation as if its action had ended.

        :param status: succeeded or failed.
        :param output: any JSON value.
        :param raw_output: the raw output instead, such as plain text.
        :raises ValueError: if it has ended already.
        """
        if status not in FINAL:
            raise ValueError(f"status is {status!r}; it must be one of {', '.join(FINAL)}")
        if raw_output is not None and output is not ABSENT:
            raise ValueError("give either output or raw_output")
        run = self._runs.get(invocation_id)
        text = raw_output if output is ABSENT else json.dumps(output, allow_nan=False)
        ended = self._runs.finish(
            run,
            status,
            output=text,
            reason=self.switches.reason_failed,
            end_browsers=self.switches.run_end_ends_browsers,
        )
        if not ended:
            raise ValueError(f"invocation {invocation_id} has ended already: {run.status}")
        return self.invocation(invocation_id)
