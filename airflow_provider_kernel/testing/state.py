"""The runs that the emulator holds, without HTTP."""

from __future__ import annotations

import itertools
import json
import secrets
import string
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_kernel.testing.errors import ApiError
from airflow_provider_kernel.testing.times import format_time
from airflow_provider_kernel.testing.waiting import Signal, Stop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_kernel.testing.apps import AppVersion
    from airflow_provider_kernel.testing.switches import Switches
    from airflow_provider_kernel.testing.times import Clock

STATUSES = ("queued", "running", "succeeded", "failed")
FINAL = ("succeeded", "failed")
LOG_LINE_BYTES = 64 * 1024

_ID_CHARACTERS = string.ascii_lowercase + string.digits


def new_id() -> str:
    """Return an ID of Kernel's shape."""
    return "".join(secrets.choice(_ID_CHARACTERS) for _ in range(24))


@dataclass(frozen=True)
class Happening:
    """
    Something that an event stream tells.

    :param at: nanoseconds since 1970.
    :param message: the log line, when it is one.
    :param invocation: the run as it stood then, when it is a change of state.
    """

    at: int
    message: str | None = None
    invocation: dict[str, Any] | None = None

    def json(self) -> dict[str, Any]:
        """Return the event's data."""
        if self.invocation is None:
            return {"event": "log", "message": self.message, "timestamp": format_time(self.at)}
        return {
            "event": "invocation_state",
            "invocation": self.invocation,
            "timestamp": format_time(self.at),
        }


@dataclass(frozen=True)
class InvocationRecord:
    """
    An invocation as it stood when the snapshot was taken.

    :param id: invocation ID.
    :param project_id: the project it was made in.
    :param app_name: the app.
    :param version: the version label that was sent.
    :param action_name: the action.
    :param deployment_id: the deployment it runs on.
    :param payload: as sent, a string of JSON.
    :param async_timeout_seconds: emulated seconds it may run.
    :param status: its status.
    :param statuses: every status it has had, in order.
    :param status_reason: only when it failed.
    :param output: as the API shows it.
    :param started_at: RFC 3339.
    :param finished_at: RFC 3339, or None.
    :param browsers: how many of its browsers are open.
    :param browsers_opened: how many it has ever opened.
    :param logs: the lines it has written.
    :param opened: place of its start in the order of all starts and ends.
    :param closed: place of its end in that order, or None.
    """

    id: str
    project_id: str
    app_name: str
    version: str
    action_name: str
    deployment_id: str
    payload: str | None
    async_timeout_seconds: int
    status: str
    statuses: tuple[str, ...]
    status_reason: str | None
    output: str | None
    started_at: str
    finished_at: str | None
    browsers: int
    browsers_opened: int
    logs: tuple[str, ...]
    opened: int
    closed: int | None

    @property
    def finished(self) -> bool:
        """Whether its status is final."""
        return self.status in FINAL

    @property
    def payload_json(self) -> Any:
        """The payload, parsed; None when there was none."""
        return json.loads(self.payload) if self.payload else None

    @property
    def output_json(self) -> Any:
        """The output, parsed; None when there is none."""
        return json.loads(self.output) if self.output else None


@dataclass(eq=False)
class Run:
    """An invocation. Everything that changes is guarded by the store's signal."""

    id: str
    project_id: str
    app: AppVersion
    action_name: str
    version: str
    payload: str | None
    async_timeout_seconds: int
    started: int
    opened: int
    status: str = "queued"
    statuses: list[str] = field(default_factory=lambda: ["queued"])
    status_reason: str | None = None
    output: str | None = None
    finished_at: int | None = None
    closed: int | None = None
    happenings: list[Happening] = field(default_factory=list)
    browsers: list[dict[str, Any]] = field(default_factory=list)
    browsers_opened: int = 0
    stop: Stop = field(default_factory=Stop)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def finished(self) -> bool:
        """Whether the status is final."""
        return self.status in FINAL

    def json(self) -> dict[str, Any]:
        """Return the `Invocation`."""
        body: dict[str, Any] = {
            "id": self.id,
            "app_name": self.app.app_name,
            "version": self.version,
            "action_name": self.action_name,
            "status": self.status,
            "started_at": format_time(self.started),
            "finished_at": None if self.finished_at is None else format_time(self.finished_at),
        }
        for name in ("payload", "output", "status_reason"):
            value = getattr(self, name)
            if value is not None:
                body[name] = value
        return body

    def record(self) -> InvocationRecord:
        """Return a snapshot."""
        return InvocationRecord(
            id=self.id,
            project_id=self.project_id,
            app_name=self.app.app_name,
            version=self.app.version,
            action_name=self.action_name,
            deployment_id=self.app.deployment_id,
            payload=self.payload,
            async_timeout_seconds=self.async_timeout_seconds,
            status=self.status,
            statuses=tuple(self.statuses),
            status_reason=self.status_reason,
            output=self.output,
            started_at=format_time(self.started),
            finished_at=None if self.finished_at is None else format_time(self.finished_at),
            browsers=len(self.browsers),
            browsers_opened=self.browsers_opened,
            logs=tuple(h.message for h in self.happenings if h.message is not None),
            opened=self.opened,
            closed=self.closed,
        )


class Store:
    """
    All runs, and every way in which one changes.

    :param switches: how to behave where Kernel's documentation is silent.
    :param clock: the platform's clock.
    """

    def __init__(self, switches: Switches, clock: Clock) -> None:
        self.signal = Signal()
        self.switches = switches
        self._clock = clock
        self._order = itertools.count(1)
        self._runs: dict[str, Run] = {}

    def create(
        self,
        project_id: str,
        app: AppVersion,
        action_name: str,
        payload: str | None,
        async_timeout_seconds: int,
    ) -> Run:
        """
        Add a queued run.

        :param project_id: the project it is made in.
        :param app: the app version it runs on.
        :param action_name: the action.
        :param payload: a string of JSON.
        :param async_timeout_seconds: emulated seconds it may run.
        :raises ApiError: 429 when too many run, 529 when the switch says that there is no room.
        """
        resolved = self.switches.version_in_response == "resolved"
        with self.signal:
            self._check_room(app.app_name)
            run = Run(
                id=new_id(),
                project_id=project_id,
                app=app,
                action_name=action_name,
                version=app.resolved_version if resolved else app.version,
                payload=payload,
                async_timeout_seconds=async_timeout_seconds,
                started=self._clock.now(),
                opened=next(self._order),
            )
            self._runs[run.id] = run
            self._tell_state(run, run.started)
        return run

    def _check_room(self, app_name: str) -> None:
        switches = self.switches
        if switches.capacity_exhausted:
            raise ApiError(529, switches.capacity_code, "The platform is out of capacity; try again later")
        active = [run.app.app_name for run in self._runs.values() if not run.finished]
        for limit, count, whose in (
            (switches.max_concurrent, len(active), "the organization"),
            (switches.max_concurrent_per_app, active.count(app_name), f"app {app_name!r}"),
        ):
            if limit is not None and count >= limit:
                seconds = switches.retry_after
                headers = {} if seconds is None else {"Retry-After": str(seconds)}
                message = f"{count} invocations are running in {whose}; the limit is {limit}"
                raise ApiError(429, switches.concurrency_code, message, headers=headers)

    def find(self, project_id: str, invocation_id: str) -> Run:
        """
        Return a run as one project sees it.

        :raises ApiError: 404 when it is unknown there.
        """
        with self.signal:
            run = self._runs.get(invocation_id)
        if run is None or run.project_id != project_id:
            raise ApiError(404, self.switches.not_found_code, f"Invocation {invocation_id!r} not found")
        return run

    def runs(self) -> list[Run]:
        """Return every run, oldest first."""
        with self.signal:
            return list(self._runs.values())

    def get(self, invocation_id: str) -> Run:
        """
        Return a run of whatever project.

        :raises KeyError: with the known IDs, when there is none.
        """
        with self.signal:
            if invocation_id not in self._runs:
                known = ", ".join(self._runs) or "none"
                raise KeyError(f"no invocation {invocation_id!r}; there are: {known}")
            return self._runs[invocation_id]

    def since(self, moment: int, threshold: int | None) -> bool:
        """Tell whether a moment is within `since`; None takes in everything."""
        if threshold is None:
            return True
        return moment >= threshold if self.switches.since_inclusive else moment > threshold

    def begin(self, run: Run) -> bool:
        """
        Take a run from queued to running.

        :return: False when it was ended meanwhile.
        """
        with self.signal:
            if run.finished:
                return False
            self._set_status(run, "running", self._clock.now())
            return True

    def finish(
        self,
        run: Run,
        status: str,
        *,
        output: str | None = None,
        reason: str | None = None,
        end_browsers: bool,
        stop_code: bool = True,
    ) -> bool:
        """
        End a run; whoever comes first decides its result.

        :param run: the run.
        :param status: succeeded or failed.
        :param output: its output, if it leaves one.
        :param reason: the `status_reason`; kept on failed only.
        :param end_browsers: whether its browsers go too.
        :param stop_code: whether its code is told to stop.
        :return: False when it had ended before; nothing was changed then.
        """
        with self.signal:
            if run.finished:
                return False
            run.output = output
            run.status_reason = reason if status == "failed" else None
            run.finished_at = self._clock.now()
            run.closed = next(self._order)
            if end_browsers:
                run.browsers.clear()
            self._set_status(run, status, run.finished_at)
            run.ended.set()
        if stop_code:
            run.stop.set()
        return True

    def overwrite(self, run: Run, status: str, output: str | None) -> None:
        """
        Replace the result of a finished run.

        :param run: the run.
        :param status: succeeded or failed.
        :param output: its new output; None leaves the old one.
        """
        with self.signal:
            run.status_reason = None if status == "succeeded" else self.switches.reason_patched
            run.output = run.output if output is None else output
            run.status = status
            run.statuses.append(status)
            self.signal.notify()

    def log(self, run: Run, message: str) -> None:
        """Add a log line, cut at Kernel's limit."""
        cut = message.encode(errors="replace")[:LOG_LINE_BYTES].decode(errors="ignore")
        with self.signal:
            run.happenings.append(Happening(self._clock.now(), message=cut))
            self.signal.notify()

    def open_browser(self, run: Run, *, headless: bool) -> dict[str, Any]:
        """
        Open a browser that is linked to a run.

        :return: the `Browser`.
        """
        session = new_id()
        token = f"emulator-token-{secrets.token_hex(8)}"
        browser: dict[str, Any] = {
            "session_id": session,
            "created_at": format_time(self._clock.now()),
            "headless": headless,
            "stealth": False,
            "timeout_seconds": 60,
            "region": "us-east",  # unlike that of an app
            "memory": "8GiB",
            "cdp_ws_url": f"wss://{session}.browsers.invalid/cdp?jwt={token}",
            "webdriver_ws_url": f"wss://{session}.browsers.invalid/webdriver?jwt={token}",
        }
        if not headless:
            browser["browser_live_view_url"] = f"https://{session}.browsers.invalid/live?jwt={token}"
        with self.signal:
            run.browsers.append(browser)
            run.browsers_opened += 1
            self.signal.notify()
        return dict(browser)

    def end_browsers(self, run: Run) -> None:
        """Delete a run's browsers; its status stays."""
        with self.signal:
            run.browsers.clear()
            self.signal.notify()

    def stop_all(self) -> None:
        """Tell all code to stop, detached code too."""
        for run in self.runs():
            run.ended.set()
            run.stop.set()

    def forget(self) -> None:
        """Stop and forget every run."""
        self.stop_all()
        with self.signal:
            self._runs.clear()
            self.signal.notify()

    def _set_status(self, run: Run, status: str, at: int) -> None:
        run.status = status
        run.statuses.append(status)
        self._tell_state(run, at)

    def _tell_state(self, run: Run, at: int) -> None:
        run.happenings.append(Happening(at, invocation=run.json()))
        self.signal.notify()


def most_active_at_once(records: Sequence[InvocationRecord]) -> int:
    """Return how many of these were queued or running at the same time, at most."""
    steps = [(record.opened, 1) for record in records]
    steps += [(record.closed, -1) for record in records if record.closed is not None]
    return max(itertools.accumulate((change for _, change in sorted(steps)), initial=0))
